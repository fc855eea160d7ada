"""The device API: an OAuth 2.0 resource server for devices and their readings."""

from api.app import create_app

__all__ = ["create_app"]
