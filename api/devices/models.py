"""What the API is about: devices, what they measure, and whose they are."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal, NamedTuple

KINDS = ("television", "set_top_box", "thermostat", "hub", "sensor", "speaker")
STATUSES = ("online", "offline")
METRICS = {"temperature": "°C", "target_temperature": "°C", "humidity": "%", "power": "W", "signal": "dBm"}
UNITS = tuple(dict.fromkeys(METRICS.values()))


class Owner(NamedTuple):
    """Whose a device is: a subject is unique within its issuer only (RFC 7519 §4.1.2)."""

    issuer: str
    subject: str


class Everyone(Enum):
    """All owners together: what support staff may look at. Spelled out, so that no forgotten argument means it."""

    EVERYONE = "everyone"


EVERYONE: Literal[Everyone.EVERYONE] = Everyone.EVERYONE
Whose = Owner | Literal[Everyone.EVERYONE]
"""Whose devices a caller may look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """What a caller says of a device that it registers."""

    name: str
    kind: str
    model: str
    location: str | None = None
    status: str = "offline"


class Device(NamedTuple):
    """A device; times are in UTC, and `version` grows with every change. A tuple, since lists are made of many."""

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
    """One value that a device measured; a device has at most one for a metric at a time."""

    time: datetime
    metric: str
    value: float
    unit: str
