"""A mock OAuth 2.0 and OpenID Connect issuer with the device flow. For tests and demos, not for production."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mock_issuer.app import create_app
    from mock_issuer.config import Api, Client, Config, ConfigError, User
    from mock_issuer.control.control import ControlError
    from mock_issuer.flow.events import Event
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
    "__version__",
    "create_app",
]

__version__ = "0.2.0.dev0"

_MODULES = {
    "Api": "config",
    "Client": "config",
    "Config": "config",
    "ConfigError": "config",
    "ControlError": "control.control",
    "Event": "flow.events",
    "RuleContext": "rules",
    "RuleDenied": "rules",
    "Server": "server",
    "User": "config",
    "create_app": "app",
}


def __getattr__(name: str) -> object:
    # Imported on first use (PEP 562): pytest loads this package in every project that has the plugin installed, and
    # the device flow alone (`flow`, `oauth`) needs neither pages nor controls.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
