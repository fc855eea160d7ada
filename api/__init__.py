"""The device API: a resource server that verifies bearer tokens and serves device data."""

from api.app import create_app

__all__ = ["create_app"]
