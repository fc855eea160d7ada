"""Rules: a tester's functions that run before tokens are issued for a user. They add claims or deny the access."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The values of `RuleContext.protocol`, as in Auth0's rules.
DEVICE_PROTOCOL = "oauth2-device-code"
CODE_PROTOCOL = "oidc-basic-profile"
REFRESH_PROTOCOL = "oauth2-refresh-token"


class RuleDenied(Exception):
    """Raised by a rule to deny the access. The message is shown to the user and logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """The third argument of a rule, after the user and the client.

    Args:
        protocol: `oauth2-device-code` when a device request is approved, `oidc-basic-profile` before an authorization
            code is issued, `oauth2-refresh-token` at each refresh.
        audience: the audience of the access token.
        scopes: its scopes.
        access_token: the claims that the rule adds to the access token; the issuer's own (`iss`, …) override them.
        id_token: the same for the ID token.
    """

    protocol: str
    audience: str
    scopes: tuple[str, ...]
    access_token: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraClaims:
    """The claims that the rules have added.

    Args:
        access_token: those for the access token.
        id_token: those for the ID token.
    """

    access_token: Mapping[str, Any] = field(default_factory=dict)
    id_token: Mapping[str, Any] = field(default_factory=dict)
