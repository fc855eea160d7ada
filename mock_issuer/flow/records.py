"""The records that the state holds. Frozen: a change replaces the record. Times are seconds since the epoch."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from mock_issuer.rules import ExtraClaims

ScriptOutcome = Literal["approve", "deny", "expire"]


class Decision(Enum):
    """The status of a device request."""

    PENDING = auto()
    APPROVED = auto()
    DENIED = auto()
    REDEEMED = auto()


class PollRefusal(Enum):
    """Why a poll gets no tokens (RFC 8628 §3.5)."""

    UNKNOWN = auto()
    PENDING = auto()
    TOO_FAST = auto()
    EXPIRED = auto()
    DENIED = auto()


class CodeRefusal(Enum):
    """Why an authorization code gets no tokens (RFC 6749 §5.2: all are `invalid_grant`)."""

    UNKNOWN = auto()
    EXPIRED = auto()
    OTHER_REDIRECT_URI = auto()
    WRONG_VERIFIER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a token gives access to.

    Args:
        audience: the identifier of an API.
        scopes: the scopes there.
    """

    audience: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A decision that a test has set in advance.

    Args:
        after_polls: how many polls get `authorization_pending` first.
        outcome: the decision, made at the poll after those.
        username: the user who decides.
    """

    after_polls: int
    outcome: ScriptOutcome
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGrant:
    """A device request, from the device authorization request until its tokens (RFC 8628 §3).

    Args:
        device_code: the code that the device polls with.
        user_code: the code that the user enters, as the device shows it.
        client_id: the client that sent the request.
        access: the requested access.
        address: the IP address that it came from.
        requested_at: when it came.
        expires_at: when both codes expire.
        interval_seconds: the shortest time between two polls; each `slow_down` of the `rfc` profile adds 5 seconds.
        key_thumbprint: the key that the request proved, which each poll must prove; empty for none.
        script: the script that decides it; None if a user does.
        pending_polls: how many polls got `authorization_pending`.
        last_poll_at: the time of the last of those polls; None before the first.
        decision: its status.
        sub: the subject of the user who approved it; empty before.
        auth_time: when that user logged in.
        claims: the claims that the rules added when it was approved.
        family_id: the refresh token family that it was redeemed for; None if there is none.
    """

    device_code: str
    user_code: str
    client_id: str
    access: Access
    address: str
    requested_at: float
    expires_at: float
    interval_seconds: int
    key_thumbprint: str
    script: Script | None = None
    pending_polls: int = 0
    last_poll_at: float | None = None
    decision: Decision = Decision.PENDING
    sub: str = ""
    auth_time: int = 0
    claims: ExtraClaims = field(default_factory=ExtraClaims)
    family_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """The result of a poll that redeems an approved request.

    Args:
        grant: the approved request.
        refresh_token: its first refresh token; None without `offline_access`.
    """

    grant: DeviceGrant
    refresh_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """An authorization request (RFC 6749 §4.1.1), checked: what its code is bound to.

    Args:
        client_id: the client that sent the request.
        redirect_uri: where the answer goes, as the request has it.
        access: the requested access.
        code_challenge: the SHA-256 of the code verifier, in base64url (RFC 7636 §4.2).
        nonce: for the ID token (OpenID Connect Core §3.1.2.1); empty for none.
        key_thumbprint: the key that the token request must prove (RFC 9449 §10); empty for none.
    """

    client_id: str
    redirect_uri: str
    access: Access
    code_challenge: str
    nonce: str
    key_thumbprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """An authorization code (RFC 6749 §4.1.2), kept after its use so that a second use is noticed.

    Args:
        code: the code.
        request: the request that it answers.
        sub: the subject of the user who approved it.
        auth_time: when that user logged in.
        claims: the claims that the rules added.
        expires_at: when it expires.
        used: whether it was redeemed.
        family_id: the refresh token family that it was redeemed for; None if there is none.
        access_tokens: the SHA-256 of each access token that it led to, refreshed ones too.
        reused: whether it was redeemed a second time, which ends its tokens.
    """

    code: str
    request: CodeRequest
    sub: str
    auth_time: int
    claims: ExtraClaims
    expires_at: float
    used: bool = False
    family_id: str | None = None
    access_tokens: tuple[bytes, ...] = ()
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRedemption:
    """The result of a token request with a valid authorization code.

    Args:
        code: the code.
        refresh_token: the first refresh token; None without `offline_access`.
    """

    code: AuthorizationCode
    refresh_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFamily:
    """A refresh token and its successors by rotation (RFC 9700 §4.14.2). Reuse of an old one revokes the family.

    Args:
        family_id: its identifier; unlike the tokens, no secret.
        client_id: the client that it was issued to.
        access: what the user granted.
        sub: the subject of that user.
        auth_time: when the user logged in.
        address: the IP address that the client used last.
        linked_at: when the first token was issued.
        used_at: when a token was used last.
        expires_at: when its tokens expire.
        current_token: the only token that is valid.
        code: the authorization code that it was issued for; empty for a device code.
        key_thumbprint: the key that each refresh must prove (RFC 9449 §5); empty for none.
    """

    family_id: str
    client_id: str
    access: Access
    sub: str
    auth_time: int
    address: str
    linked_at: float
    used_at: float
    expires_at: float
    current_token: str
    code: str
    key_thumbprint: str
