"""The sample devices: a hub, a thermostat, a television and more, three of them with a week of readings."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from api.devices.models import METRICS, Device, Reading

_WEEK = timedelta(days=7)
_STEP = timedelta(minutes=15)
_HOURS_A_DAY = 24
# Added to the daily curve; fixed instead of random, so that every run gives the same plot.
_NOISE = (0.0, 0.2, -0.1, 0.1, -0.3, 0.1, 0.2, -0.2, 0.0, -0.1, 0.3)


def sample_devices(now: datetime, new_id: Callable[[], str]) -> Iterator[tuple[Device, list[Reading]]]:
    """Yield the sample devices as of `now` (UTC), each with its readings; `new_id` generates their ids."""

    def device(kind: str, name: str, model: str, location: str, *, age_days: int, seen: timedelta) -> Device:
        return Device(
            id=new_id(),
            name=name,
            kind=kind,
            model=model,
            location=location,
            status="online" if seen < timedelta(minutes=30) else "offline",
            created_at=now - timedelta(days=age_days),
            last_seen_at=now - seen,
        )

    minute, day = timedelta(minutes=1), timedelta(days=1)
    yield device("hub", "Hallway hub", "Northlight Hub 2", "Hallway", age_days=410, seen=minute), []
    thermostat = device("thermostat", "Thermostat", "Warmly T3", "Living room", age_days=398, seen=2 * minute)
    yield thermostat, list(_thermostat_readings(now))
    television = device("television", "Living room TV", "Lumen 55", "Living room", age_days=212, seen=3 * minute)
    yield television, list(_television_readings(now))
    yield device("set_top_box", "Bedroom box", "Streamlet S1", "Bedroom", age_days=130, seen=6 * day), []
    sensor = device("sensor", "Greenhouse sensor", "Fernleaf H1", "Greenhouse", age_days=47, seen=9 * minute)
    yield sensor, list(_greenhouse_readings(now))
    yield device("speaker", "Kitchen speaker", "Pebble Mini", "Kitchen", age_days=12, seen=20 * minute), []


def _week_until(now: datetime) -> Iterator[tuple[int, datetime, float]]:
    """Yield number, time and hour of day of each quarter of an hour in the week before `now`, the latest first."""
    newest = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    for number in range(_WEEK // _STEP):
        time = newest - number * _STEP
        yield number, time, time.hour + time.minute / 60


def _daily_curve(hour: float, *, peak_hour: float) -> float:
    return math.cos((hour - peak_hour) / _HOURS_A_DAY * math.tau)


def _reading(time: datetime, metric: str, value: float) -> Reading:
    return Reading(time=time, metric=metric, value=round(value, 1), unit=METRICS[metric])


def _thermostat_readings(now: datetime) -> Iterator[Reading]:
    for number, time, hour in _week_until(now):
        target = 21.0 if 6 <= hour < 9 or 16 <= hour < 23 else 17.5  # noqa: PLR2004  # hours of the day
        noise = _NOISE[number % len(_NOISE)]
        yield _reading(time, "temperature", 19.2 + 1.6 * _daily_curve(hour, peak_hour=19) + noise)
        yield _reading(time, "target_temperature", target)
        yield _reading(time, "humidity", 46 - 5 * _daily_curve(hour, peak_hour=15) + 3 * noise)


def _television_readings(now: datetime) -> Iterator[Reading]:
    for number, time, hour in _week_until(now):
        watched = 19 <= hour < 22.5 or (time.weekday() >= 5 and 10 <= hour < 12)  # noqa: PLR2004  # likewise
        yield _reading(time, "power", 84 + 9 * _NOISE[number % len(_NOISE)] if watched else 0.4)


def _greenhouse_readings(now: datetime) -> Iterator[Reading]:
    for number, time, hour in _week_until(now):
        noise = _NOISE[number % len(_NOISE)]
        yield _reading(time, "temperature", 15 + 8 * max(_daily_curve(hour, peak_hour=14), -0.5) + noise)
        yield _reading(time, "humidity", 71 - 14 * _daily_curve(hour, peak_hour=14) + 4 * noise)
        yield _reading(time, "signal", -62 + 5 * noise)
