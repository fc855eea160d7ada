from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from api.devices.cursors import Position
from api.devices.models import Device, Owner, Reading
from api.devices.store import DeviceStore, new_device_id, open_engine
from api.devices.tables import devices, readings

NOW = datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC)
ALICE = Owner("https://issuer.example/", "alice")
BOB = Owner("https://issuer.example/", "bob")
OTHER_ALICE = Owner("https://other.example/", "alice")


@pytest.fixture
def store(database_url: str) -> Iterator[DeviceStore]:
    store = DeviceStore(open_engine(database_url), now=lambda: NOW)
    store.create_tables()
    yield store
    store.close()


@pytest.fixture
def sample_store(database_url: str) -> Iterator[DeviceStore]:
    store = DeviceStore(open_engine(database_url), sample_data=True, now=lambda: NOW)
    store.create_tables()
    yield store
    store.close()


def add(store: DeviceStore, owner: Owner, number: int = 0, **changes: object) -> Device:
    fields = {
        "id": new_device_id(),
        "name": f"Device {number}",
        "kind": "sensor",
        "model": "M",
        "location": None,
        "status": "online",
        "created_at": NOW + timedelta(minutes=number),
        "last_seen_at": None,
        **changes,
    }
    with store._engine.begin() as connection:
        connection.execute(insert(devices), {**fields, "issuer": owner.issuer, "subject": owner.subject})
    return Device(**fields)  # type: ignore[arg-type]


def measure(store: DeviceStore, device: Device, count: int, step: timedelta = timedelta(minutes=1)) -> list[Reading]:
    made = [Reading(time=NOW - number * step, metric="power", value=float(number), unit="W") for number in range(count)]
    rows = [
        {"device_id": device.id, "time": one.time, "metric": one.metric, "value": one.value, "unit": one.unit}
        for one in made
    ]
    with store._engine.begin() as connection:
        connection.execute(insert(readings), rows)
    return made


def test_a_device_comes_back_as_it_went_in(store: DeviceStore) -> None:
    device = add(store, ALICE, location="Küche \U0001f373", last_seen_at=NOW)
    assert store.get_device(ALICE, device.id) == device
    assert store.list_devices(ALICE, limit=10) == [device]


def test_only_the_owner_sees_a_device(store: DeviceStore) -> None:
    device = add(store, ALICE)
    for stranger in (BOB, OTHER_ALICE, Owner("", "")):
        assert store.get_device(stranger, device.id) is None
        assert store.list_devices(stranger, limit=10) == []


def test_pages_cover_the_list_once(store: DeviceStore) -> None:
    # Some at the same time: their ids tell them apart.
    made = [add(store, ALICE, number // 3) for number in range(11)]
    seen: list[Device] = []
    after: Position | None = None
    while page := store.list_devices(ALICE, after=after, limit=4):
        seen += page
        after = Position(page[-1].created_at, page[-1].id)
    assert seen == sorted(made, key=lambda device: (device.created_at, device.id))


def test_filters_combine(store: DeviceStore) -> None:
    add(store, ALICE, 0, kind="hub")
    wanted = add(store, ALICE, 1, kind="hub", status="offline")
    add(store, ALICE, 2, status="offline")
    assert store.list_devices(ALICE, kind="hub", status="offline", limit=10) == [wanted]


def test_readings_come_newest_first_between_their_bounds(store: DeviceStore) -> None:
    device = add(store, ALICE)
    made = measure(store, device, 10)
    assert store.list_readings(device, limit=100) == made
    # From `start` on, and before `end`.
    assert store.list_readings(device, start=made[6].time, end=made[3].time, limit=100) == made[4:7]
    assert store.list_readings(device, start=made[3].time, end=made[3].time, limit=100) == []


def test_pages_of_readings_cover_the_list_once(store: DeviceStore) -> None:
    device = add(store, ALICE)
    made = measure(store, device, 10)
    with store._engine.begin() as connection:
        connection.execute(
            insert(readings),
            [
                {"device_id": device.id, "time": one.time, "metric": "signal", "value": 1.0, "unit": "dBm"}
                for one in made
            ],
        )
    seen: list[Reading] = []
    after: Position | None = None
    while page := store.list_readings(device, after=after, limit=7):
        seen += page
        after = Position(page[-1].time, page[-1].metric)
    assert len(seen) == len(set(seen)) == 20
    assert seen == sorted(seen, key=lambda reading: (reading.time, reading.metric), reverse=True)


def test_without_sample_data_a_new_owner_has_nothing(store: DeviceStore) -> None:
    assert store.list_devices(ALICE, limit=10) == []


def test_a_new_owner_gets_the_samples_once(sample_store: DeviceStore) -> None:
    given = sample_store.list_devices(ALICE, limit=100)
    assert {device.kind for device in given} >= {"television", "thermostat", "hub"}
    assert sample_store.list_devices(ALICE, limit=100) == given
    assert {device.id for device in sample_store.list_devices(BOB, limit=100)}.isdisjoint(d.id for d in given)
    with sample_store._engine.begin() as connection:
        connection.execute(devices.delete().where(devices.c.subject == "alice"))
    assert sample_store.list_devices(ALICE, limit=100) == []


def test_a_filter_that_finds_nothing_gives_no_second_set(sample_store: DeviceStore) -> None:
    given = sample_store.list_devices(ALICE, limit=100)
    assert sample_store.list_devices(ALICE, after=Position(NOW, "zzz"), limit=100) == []
    assert sample_store.list_devices(ALICE, limit=100) == given


def test_many_first_requests_give_one_set_of_samples(sample_store: DeviceStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        pages = [
            future.result() for future in [pool.submit(sample_store.list_devices, ALICE, limit=100) for _ in range(8)]
        ]
    assert all(page == pages[0] for page in pages)
    assert len({device.name for device in pages[0]}) == len(pages[0])


def test_the_sample_thermostat_has_a_week_of_readings(sample_store: DeviceStore) -> None:
    (thermostat,) = sample_store.list_devices(ALICE, kind="thermostat", limit=2)
    found = sample_store.list_readings(thermostat, limit=10_000)
    assert found[0].time <= NOW
    assert found[0].time - found[-1].time >= timedelta(days=6, hours=23)
    assert {reading.metric for reading in found} == {"temperature", "target_temperature", "humidity"}


def test_many_processes_may_create_the_tables_at_once(database_url: str) -> None:
    stores = [DeviceStore(open_engine(database_url)) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(store.create_tables) for store in stores]:
            future.result()
    for store in stores:
        store.close()


def test_a_database_that_cannot_be_reached_is_said_to_be_so(tmp_path: Path) -> None:
    store = DeviceStore(open_engine(f"sqlite:///{tmp_path}/missing/devices.db"))
    assert not store.is_reachable()


def test_an_error_of_the_database_tells_nothing_of_the_data(store: DeviceStore) -> None:
    device = add(store, ALICE, name="Bedroom of somebody")
    with pytest.raises(IntegrityError) as caught:
        add(store, ALICE, id=device.id, name="Bedroom of somebody")
    assert "Bedroom of somebody" not in str(caught.value)


def test_a_reading_belongs_to_a_device(store: DeviceStore) -> None:
    device = add(store, ALICE)
    with pytest.raises(IntegrityError):
        measure(store, replace(device, id=new_device_id()), 1)


def test_ids_are_not_to_be_guessed() -> None:
    ids = {new_device_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(device_id) == 24 for device_id in ids)


def test_a_page_is_read_through_an_index(tmp_path: Path) -> None:
    store = DeviceStore(open_engine(f"sqlite:///{tmp_path}/devices.db"))
    store.create_tables()
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM devices WHERE issuer = 'i' AND subject = 's' "
            "AND (created_at, id) > ('2026', 'x') ORDER BY created_at, id LIMIT 20"
        ).all()
    store.close()
    assert "SEARCH devices USING INDEX devices_by_owner" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
