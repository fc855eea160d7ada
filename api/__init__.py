"""The device API: an OAuth 2.0 resource server for devices and their readings."""

from api.app import create_app

__all__ = ["__version__", "create_app"]

__version__ = "0.2.0.dev0"
