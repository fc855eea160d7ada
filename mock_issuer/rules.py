"""Rules: the tester's own code, asked before an app gets tokens for a user; they add claims, or refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What a rule sees as `protocol`, as in Auth0's rules.
DEVICE_PROTOCOL = "oauth2-device-code"
REFRESH_PROTOCOL = "oauth2-refresh-token"


class RuleDenied(Exception):
    """Raised by a rule to refuse; its text, plain ASCII, is told to the user and the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """What a rule is told besides the user and the client, and where it leaves its claims.

    Args:
        protocol: `oauth2-device-code` when a device is let in, `oauth2-refresh-token` at each refresh.
        audience: the API that the tokens are for.
        scopes: what they allow there.
        access_token: claims to add to the access token. The issuer's own (`iss`, `sub`, `exp`, …) cannot be replaced.
        id_token: the same for the ID token.
    """

    protocol: str
    audience: str
    scopes: tuple[str, ...]
    access_token: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraClaims:
    """What the rules added to each token."""

    access_token: Mapping[str, Any] = field(default_factory=dict)
    id_token: Mapping[str, Any] = field(default_factory=dict)
