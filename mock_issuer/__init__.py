"""A mock OAuth 2.0 and OpenID Connect issuer with the device flow. For tests and demos, not for production."""

from mock_issuer.app import create_app
from mock_issuer.config import Api, Client, Config, ConfigError, User
from mock_issuer.server import Server

__all__ = ["Api", "Client", "Config", "ConfigError", "Server", "User", "create_app"]
