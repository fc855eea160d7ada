"""What one process gets from PostgreSQL, Redis and the mock issuer: `make scale` prints it. One call after another."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import redis

from api.database.engine import open_database
from api.database.schema import upgrade
from api.devices.models import NewDevice, Owner, Reading
from api.devices.storage.store import DeviceStore
from mock_issuer.app import create_app
from tests.kit.databases import postgresql_schema

_SECONDS = 3.0
_OWNER = Owner("https://issuer.example/", "subject")


def per_second(call: Callable[[], object], each: int = 1) -> float:
    """Return how often `call` is done in a second, times `each`."""
    call()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        call()
        done += 1
    return done * each / (time.perf_counter() - started)


def readings_per_second() -> dict[int, float]:
    """Return the readings a second that one connection inserts, by the size of its batches; commits reach the disk."""
    with postgresql_schema() as fast_url:
        url = fast_url.replace("%20-csynchronous_commit%3Doff", "")
        upgrade(url)
        database = open_database(url)
        store = DeviceStore(database, sample_data=False)
        device = store.create_device(_OWNER, NewDevice(name="n", kind="hub", model="m"))
        numbers, begin = count(), datetime(2020, 1, 1, tzinfo=UTC)

        def batch(size: int) -> list[Reading]:
            return [Reading(begin + timedelta(seconds=next(numbers)), "power", 1.0, "W") for _ in range(size)]

        def insert(size: int) -> Callable[[], object]:
            return lambda: store.add_readings(_OWNER, device.id, batch(size))

        results = {size: per_second(insert(size), size) for size in (1, 100, 1_000)}
        database.close()
        return results


def redis_commands_per_second() -> float:
    """Return the increments a second of one connection that waits for each answer."""
    with redis.Redis() as client:
        return per_second(lambda: client.incr("benchmark"))


def poll_cpu_microseconds() -> float:
    """Return the CPU time of one poll of a pending device code at the mock issuer, in process."""
    client = create_app().test_client()
    form = {"client_id": "device-app", "scope": "read:devices", "audience": "https://device-api.example"}
    answer = client.post("/oauth/device/code", data=form).get_json()
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": answer["device_code"],
        "client_id": "device-app",
    }
    polls = 1_000
    started = time.process_time()
    for _ in range(polls):
        client.post("/oauth/token", data=poll)
    return (time.process_time() - started) / polls * 1e6


def main() -> None:
    """Measure and print everything."""
    print(f"PostgreSQL, Redis and the mock issuer, at a load of {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    for size, rate in readings_per_second().items():
        print(f"  readings a second, batches of {size:<5} {rate:>10,.0f}")
    print(f"  Redis increments a second               {redis_commands_per_second():>10,.0f}")
    print(f"  CPU time of a poll at the mock issuer   {poll_cpu_microseconds():>10,.0f} µs")


if __name__ == "__main__":
    main()
