"""Bearer-token verification for Python services: copy this folder, see its README.md.

Source: the folder `api/auth/` of Device API (distribution `device-api`). License: MIT, see the file LICENSE.

The names of `flask/` are imported on first use, so that services without Flask need not install it. `DPoP` is imported
from `dpop/` and `Introspection` from `introspection/`, which a copy may leave out.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import issuers
from .claims import AccessToken
from .config import AuthConfig, ConfigError, TrustedIssuer
from .errors import (
    AuthError,
    InsufficientScope,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    InvalidDPoPProof,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingCredentials,
    ReplaysUnavailable,
    TemporarilyUnavailable,
    UseDPoPNonce,
)
from .events import AuthEvents
from .possession import Sender, UnverifiedRequest
from .reasons import Reason
from .requirement import Requirement
from .unverified_token import bearer_token
from .verifier import TokenVerifier

if TYPE_CHECKING:
    from .flask import (
        Access,
        Auth,
        access_of,
        current_token,
        open_to_all,
        require_auth,
        requirements_of,
    )

# The version of Device API that this folder is from; CHANGELOG.md says what changed in each.
__version__ = "0.2.0.dev0"

__all__ = [
    "Access",
    "AccessToken",
    "Auth",
    "AuthConfig",
    "AuthError",
    "AuthEvents",
    "ConfigError",
    "InsufficientScope",
    "InsufficientUserAuthentication",
    "IntrospectionUnavailable",
    "InvalidDPoPProof",
    "InvalidRequest",
    "InvalidToken",
    "KeysUnavailable",
    "MissingCredentials",
    "Reason",
    "ReplaysUnavailable",
    "Requirement",
    "Sender",
    "TemporarilyUnavailable",
    "TokenVerifier",
    "TrustedIssuer",
    "UnverifiedRequest",
    "UseDPoPNonce",
    "access_of",
    "bearer_token",
    "current_token",
    "issuers",
    "open_to_all",
    "require_auth",
    "requirements_of",
]

_OF_FLASK = frozenset(
    {"Access", "Auth", "access_of", "current_token", "open_to_all", "require_auth", "requirements_of"}
)


def __getattr__(name: str) -> Any:
    if name not in _OF_FLASK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not kept in the namespace: `current_token` and the others stay what the folder `flask` says they are.
    return getattr(importlib.import_module(".flask", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_OF_FLASK]
