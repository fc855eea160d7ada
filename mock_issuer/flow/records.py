"""What the issuer remembers of a flow. Frozen: a change is a new record in the old one's place."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from mock_issuer.rules import ExtraClaims

ScriptOutcome = Literal["approve", "deny", "expire"]


class Decision(Enum):
    """What became of a device request."""

    PENDING = auto()
    APPROVED = auto()
    DENIED = auto()
    REDEEMED = auto()


class Refusal(Enum):
    """Why a poll with a device code gets no tokens (RFC 8628 §3.5)."""

    UNKNOWN = auto()
    PENDING = auto()
    TOO_FAST = auto()
    EXPIRED = auto()
    DENIED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a token is to be good for: an audience and the scopes there."""

    audience: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What becomes of a device request by itself: the outcome, once this many polls were told that it is pending."""

    after_polls: int
    outcome: ScriptOutcome
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceGrant:
    """One device's request for access, from its first call until its tokens. Times are seconds since the epoch."""

    device_code: str
    user_code: str
    client_id: str
    access: Access
    address: str
    requested_at: float
    expires_at: float
    interval_seconds: int
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
    """An approved request that was redeemed just now, with its refresh token where it has one."""

    grant: DeviceGrant
    refresh_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFamily:
    """A refresh token with those that replaced it. Only the current one is good; an older one ends them all."""

    family_id: str
    client_id: str
    access: Access
    sub: str
    auth_time: int
    address: str
    linked_at: float
    used_at: float
    current_token: str
    ended: bool = False
