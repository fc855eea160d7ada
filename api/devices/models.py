"""What the API is about: devices, what they measure, and whose they are."""

from dataclasses import dataclass
from datetime import datetime

KINDS = ("television", "set_top_box", "thermostat", "hub", "sensor", "speaker")
STATUSES = ("online", "offline")
METRICS = {"temperature": "°C", "target_temperature": "°C", "humidity": "%", "power": "W", "signal": "dBm"}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a device is: a subject is unique within its issuer only (RFC 7519 §4.1.2)."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device; times are in UTC."""

    id: str
    name: str
    kind: str
    model: str
    location: str | None
    status: str
    created_at: datetime
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value that a device measured; a device has at most one for a metric at a time."""

    time: datetime
    metric: str
    value: float
    unit: str
