"""The domain types: devices, readings, and who owns them."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal, NamedTuple

KINDS = ("television", "set_top_box", "thermostat", "hub", "sensor", "speaker")
STATUSES = ("online", "offline")
METRICS = {"temperature": "°C", "target_temperature": "°C", "humidity": "%", "power": "W", "signal": "dBm"}
UNITS = tuple(dict.fromkeys(METRICS.values()))


class Owner(NamedTuple):
    """The owner of a device. A subject is unique only within its issuer (RFC 7519 §4.1.2)."""

    issuer: str
    subject: str


class Everyone(Enum):
    """All owners. Not None, so that a missing value cannot select everyone's devices."""

    EVERYONE = "everyone"


EVERYONE: Literal[Everyone.EVERYONE] = Everyone.EVERYONE
OwnerScope = Owner | Literal[Everyone.EVERYONE]
"""The owners whose devices a query may return: one, or everyone for support staff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """The members of a device that its caller sets on registration."""

    name: str
    kind: str
    model: str
    location: str | None = None
    status: str = "offline"


class Device(NamedTuple):
    """A device. Times are in UTC; `version` is incremented by every change that a client can see."""

    id: str
    name: str
    kind: str
    model: str
    location: str | None
    status: str
    created_at: datetime
    last_seen_at: datetime | None
    version: int = 1


class Reading(NamedTuple):
    """One measured value. A device has at most one for each time and metric."""

    time: datetime
    metric: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a request that may be repeated, and a digest of the request's body."""

    key: str
    fingerprint: bytes
