"""Bearer-token verification for Flask services: copy this folder, see its README.md."""

from .claims import AccessToken
from .config import AuthConfig, ConfigError, TrustedIssuer
from .decorator import require_auth, requirements_of
from .errors import (
    AuthError,
    AuthEvents,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingCredentials,
    Reason,
)
from .flask import Auth, current_token
from .requirement import Requirement
from .verifier import TokenVerifier

__all__ = [
    "AccessToken",
    "Auth",
    "AuthConfig",
    "AuthError",
    "AuthEvents",
    "ConfigError",
    "InsufficientScope",
    "InsufficientUserAuthentication",
    "InvalidRequest",
    "InvalidToken",
    "KeysUnavailable",
    "MissingCredentials",
    "Reason",
    "Requirement",
    "TokenVerifier",
    "TrustedIssuer",
    "current_token",
    "require_auth",
    "requirements_of",
]
