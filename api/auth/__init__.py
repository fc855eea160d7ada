"""Bearer-token verification for Flask services: copy this folder, see its README.md."""

from .claims import AccessToken
from .config import AuthConfig, ConfigError, TrustedIssuer
from .decorator import Access, access_of, open_to_all, require_auth, requirements_of
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
    "Access",
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
    "access_of",
    "current_token",
    "open_to_all",
    "require_auth",
    "requirements_of",
]
