"""What a token says, in the same words for every dialect. Times are NumericDates in whole seconds (RFC 7519 §2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessContent:
    """What an access token says.

    Args:
        issuer: the issuer identifier.
        audience: the API that it is for.
        scopes: what it allows there.
        sub: the user; None for a machine's token (client credentials).
        client_id: the client that it is issued to.
        has_secret: whether that client authenticates with a secret.
        issued_at: when it is issued.
        expires_at: when it expires.
        auth_time: when the user logged in; None if nobody did.
        refreshed: whether a refresh token was exchanged for it.
        profile: the claims about the user that the scopes release.
        username: the name that the user logs in with; empty if unknown.
        userinfo_audience: the address of `/userinfo`.
    """

    issuer: str
    audience: str
    scopes: tuple[str, ...]
    sub: str | None
    client_id: str
    has_secret: bool = False
    issued_at: int
    expires_at: int
    auth_time: int | None = None
    refreshed: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict)
    username: str = ""
    userinfo_audience: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdContent:
    """What an ID token says (OpenID Connect Core §2).

    Args:
        issuer: the issuer identifier.
        client_id: the client that it is for.
        sub: the user.
        issued_at: when it is issued.
        expires_at: when it expires.
        auth_time: when the user logged in.
        profile: the claims about the user that the scopes release; `sub` may be among them.
        username: the name that the user logs in with.
        access_token: the access token that is issued with it, for `at_hash` (OpenID Connect Core §3.1.3.6).
    """

    issuer: str
    client_id: str
    sub: str
    issued_at: int
    expires_at: int
    auth_time: int
    profile: Mapping[str, Any]
    username: str
    access_token: str
