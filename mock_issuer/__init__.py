"""A mock OAuth 2.0 and OpenID Connect issuer with the device flow. For tests and demos, not for production."""

from mock_issuer.app import create_app
from mock_issuer.config import Api, Client, Config, ConfigError, User
from mock_issuer.control import ControlError
from mock_issuer.events import Event
from mock_issuer.rules import RuleContext, RuleDenied
from mock_issuer.server import Server

__all__ = [
    "Api",
    "Client",
    "Config",
    "ConfigError",
    "ControlError",
    "Event",
    "RuleContext",
    "RuleDenied",
    "Server",
    "User",
    "create_app",
]
