from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from api.database.engine import MAX_CONNECTIONS, open_database, write_transaction
from api.devices.cursors import Position
from api.devices.models import EVERYONE, Device, IdempotencyKey, NewDevice, Owner, Reading
from api.devices.storage.store import DeviceStore, IdempotencyKeyReused, VersionMismatch, new_device_id
from api.devices.storage.tables import devices, idempotency_keys, readings

NOW = datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC)
ALICE = Owner("https://issuer.example/", "alice")
BOB = Owner("https://issuer.example/", "bob")
OTHER_ALICE = Owner("https://other.example/", "alice")
LAMP = NewDevice(name="Lamp", kind="sensor", model="M")


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[DeviceStore]:
    store = DeviceStore(open_database(database_url), now=clock)
    yield store
    store.close()


@pytest.fixture
def sample_store(database_url: str) -> Iterator[DeviceStore]:
    store = DeviceStore(open_database(database_url), sample_data=True, now=lambda: NOW)
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
    with write_transaction(store._database) as connection:
        connection.execute(insert(devices), {**fields, **owner._asdict()})
    return Device(**fields)  # type: ignore[arg-type]


def power(count: int, step: timedelta = timedelta(minutes=1)) -> list[Reading]:
    return [Reading(time=NOW - number * step, metric="power", value=float(number), unit="W") for number in range(count)]


def insert_readings(store: DeviceStore, device: Device, made: Sequence[Reading]) -> Sequence[Reading]:
    with write_transaction(store._database) as connection:
        connection.execute(insert(readings), [{**one._asdict(), "device_id": device.id} for one in made])
    return made


def test_a_device_is_returned_as_it_was_stored(store: DeviceStore) -> None:
    device = add(store, ALICE, location="Küche \U0001f373", last_seen_at=NOW)
    assert store.get_device(ALICE, device.id) == device
    assert store.list_devices(ALICE, limit=10) == [device]


def test_only_the_owner_sees_a_device(store: DeviceStore) -> None:
    device = add(store, ALICE)
    for stranger in (BOB, OTHER_ALICE, Owner("", "")):
        assert store.get_device(stranger, device.id) is None
        assert store.list_devices(stranger, limit=10) == []


def test_pages_cover_the_list_once(store: DeviceStore) -> None:
    # Some have the same time, so that their ids decide the order.
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
    made = insert_readings(store, device, power(10))
    assert store.list_readings(device, limit=100) == made
    # `start` is inclusive, `end` exclusive.
    assert store.list_readings(device, start=made[6].time, end=made[3].time, limit=100) == made[4:7]
    assert store.list_readings(device, start=made[3].time, end=made[3].time, limit=100) == []


def test_pages_of_readings_cover_the_list_once(store: DeviceStore) -> None:
    device = add(store, ALICE)
    made = insert_readings(store, device, power(10))
    insert_readings(store, device, [one._replace(metric="signal", unit="dBm") for one in made])
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
    with write_transaction(sample_store._database) as connection:
        connection.execute(devices.delete().where(devices.c.subject == "alice"))
    assert sample_store.list_devices(ALICE, limit=100) == []


def test_an_empty_page_adds_no_second_set_of_samples(sample_store: DeviceStore) -> None:
    given = sample_store.list_devices(ALICE, limit=100)
    assert sample_store.list_devices(ALICE, after=Position(NOW, "zzz"), limit=100) == []
    assert sample_store.list_devices(ALICE, limit=100) == given


def test_concurrent_first_requests_add_one_set_of_samples(sample_store: DeviceStore) -> None:
    # As many as there are connections: with more, one that waits too long is refused.
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
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


def test_a_database_error_contains_no_data(store: DeviceStore) -> None:
    device = add(store, ALICE, name="Bedroom of somebody")
    with pytest.raises(IntegrityError) as caught:
        add(store, ALICE, id=device.id, name="Bedroom of somebody")
    assert "Bedroom of somebody" not in str(caught.value)


def test_a_reading_of_an_unknown_device_is_refused(store: DeviceStore) -> None:
    device = add(store, ALICE)
    with pytest.raises(IntegrityError):
        insert_readings(store, device._replace(id=new_device_id()), power(1))


def test_ids_are_random() -> None:
    ids = {new_device_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(device_id) == 24 for device_id in ids)


def test_everyone_is_all_owners(store: DeviceStore) -> None:
    made = [add(store, owner, number) for number, owner in enumerate((ALICE, BOB, OTHER_ALICE))]
    assert store.list_devices(EVERYONE, limit=10) == made
    assert store.get_device(EVERYONE, made[1].id) == made[1]


def test_everyone_gets_no_samples(sample_store: DeviceStore) -> None:
    assert sample_store.list_devices(EVERYONE, limit=10) == []


def test_the_samples_are_added_too_if_the_first_request_creates_a_device(sample_store: DeviceStore) -> None:
    device = sample_store.create_device(ALICE, LAMP)
    found = sample_store.list_devices(ALICE, limit=100)
    assert found[-1] == device
    assert len(found) == len(sample_store.list_devices(BOB, limit=100)) + 1


# Writing


def test_a_created_device_is_stored(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    assert device == Device(id=device.id, created_at=NOW, last_seen_at=None, **asdict(LAMP), version=1)
    assert device.status == "offline"
    assert store.get_device(ALICE, device.id) == device
    assert store.get_device(BOB, device.id) is None


def test_a_change_changes_only_the_given_members(store: DeviceStore) -> None:
    before = store.create_device(ALICE, replace(LAMP, location="Attic"))
    after = store.change_device(ALICE, before.id, {"name": "Desk lamp", "location": None})
    assert after == before._replace(name="Desk lamp", location=None, version=2)
    assert store.get_device(ALICE, before.id) == after
    assert store.change_device(ALICE, before.id, {}) == after


def test_only_the_owner_changes_and_deletes(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    for stranger in (BOB, OTHER_ALICE):
        assert store.change_device(stranger, device.id, {"name": "Mine"}) is None
        assert store.change_device(stranger, device.id, {}) is None
        assert store.change_device(stranger, device.id, {"name": "Mine"}, if_versions=frozenset({7})) is None
        assert not store.delete_device(stranger, device.id)
        assert not store.delete_device(stranger, device.id, if_versions=frozenset({7}))
        assert store.add_readings(stranger, device.id, power(1)) is None
    assert store.get_device(ALICE, device.id) == device
    assert store.list_readings(device, limit=1) == []


def test_another_version_is_not_changed(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    for wrong in (frozenset({2, 3}), frozenset[int]()):
        for changes in ({"name": "x"}, dict[str, str]()):
            with pytest.raises(VersionMismatch):
                store.change_device(ALICE, device.id, changes, if_versions=wrong)
        with pytest.raises(VersionMismatch):
            store.delete_device(ALICE, device.id, if_versions=wrong)
    assert store.get_device(ALICE, device.id) == device
    changed = store.change_device(ALICE, device.id, {"name": "x"}, if_versions=frozenset({1, 9}))
    assert changed == device._replace(name="x", version=2)
    assert store.delete_device(ALICE, device.id, if_versions=frozenset({2}))


def test_of_concurrent_changes_to_one_version_one_succeeds(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)

    def change(number: int) -> str | None:
        try:
            store.change_device(ALICE, device.id, {"name": f"{number}"}, if_versions=frozenset({1}))
        except VersionMismatch:
            return None
        return f"{number}"

    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        made = [name for name in pool.map(change, range(24)) if name]
    after = store.get_device(ALICE, device.id)
    assert after is not None
    assert made == [after.name]
    assert after.version == 2


def test_of_concurrent_changes_to_any_version_none_is_lost(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        changed = list(pool.map(lambda number: store.change_device(ALICE, device.id, {"name": f"{number}"}), range(24)))
    assert {one.version for one in changed if one} == set(range(2, 26))


def test_deleting_a_device_deletes_its_readings(store: DeviceStore) -> None:
    device, other = (store.create_device(ALICE, LAMP) for _ in range(2))
    for one in (device, other):
        store.add_readings(ALICE, one.id, power(3))
    assert store.delete_device(ALICE, device.id)
    assert not store.delete_device(ALICE, device.id)
    assert store.get_device(ALICE, device.id) is None
    with store._database.connect() as connection:
        assert {row.device_id for row in connection.execute(select(readings))} == {other.id}


# Readings


def test_readings_are_added_once(store: DeviceStore, clock: Clock) -> None:
    device = store.create_device(ALICE, LAMP)
    assert store.add_readings(ALICE, device.id, power(3)) == 3
    assert store.add_readings(ALICE, device.id, power(5)) == 2
    # The first value is kept.
    assert store.add_readings(ALICE, device.id, [one._replace(value=-1.0) for one in power(5)]) == 0
    assert store.list_readings(device, limit=10) == power(5)


def test_readings_update_last_seen_at(store: DeviceStore, clock: Clock) -> None:
    device = store.create_device(ALICE, LAMP)
    clock.time += timedelta(minutes=5)
    store.add_readings(ALICE, device.id, power(1))
    seen = store.get_device(ALICE, device.id)
    assert seen == device._replace(last_seen_at=clock.time, version=2)
    # A process whose clock is behind does not set it back.
    clock.time -= timedelta(minutes=1)
    store.add_readings(ALICE, device.id, power(2))
    assert store.get_device(ALICE, device.id) == seen


def test_readings_of_an_unknown_device_are_not_stored(store: DeviceStore) -> None:
    assert store.add_readings(ALICE, new_device_id(), power(3)) is None
    with store._database.connect() as connection:
        assert connection.execute(select(readings)).all() == []


def test_a_batch_that_fails_leaves_nothing(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    wrong: Reading = power(1)[0]._replace(metric="signal", value=None)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        store.add_readings(ALICE, device.id, [*power(3), wrong])
    assert store.list_readings(device, limit=10) == []
    assert store.get_device(ALICE, device.id) == device


def test_concurrent_repetitions_of_a_batch_are_stored_once(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        added = list(pool.map(lambda _: store.add_readings(ALICE, device.id, power(200)), range(16)))
    assert sorted(added, key=lambda count: count or 0) == [0] * 15 + [200]
    assert store.list_readings(device, limit=1_000) == power(200)


def test_a_device_deleted_while_readings_arrive_leaves_none(store: DeviceStore) -> None:
    device = store.create_device(ALICE, LAMP)
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        batches = [pool.submit(store.add_readings, ALICE, device.id, power(50)) for _ in range(12)]
        deleted = pool.submit(store.delete_device, ALICE, device.id)
        assert {batch.result() for batch in batches} <= {50, 0, None}
        assert deleted.result()
    with store._database.connect() as connection:
        assert connection.execute(select(readings)).all() == []


# Idempotency


def test_a_repeated_request_creates_nothing(store: DeviceStore, clock: Clock) -> None:
    first = store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1"))
    store.change_device(ALICE, first.id, {"name": "Other"})
    clock.time += timedelta(hours=23, minutes=59)
    assert store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1")) == first
    store.delete_device(ALICE, first.id)
    assert store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1")) == first
    assert store.list_devices(ALICE, limit=10) == []


def test_a_key_expires_after_a_day(store: DeviceStore, clock: Clock) -> None:
    first = store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1"))
    clock.time += timedelta(hours=24, seconds=1)
    second = store.create_device(ALICE, LAMP, IdempotencyKey("key", b"2"))
    assert second.id != first.id
    assert store.list_devices(ALICE, limit=10) == [first, second]


def test_expired_keys_are_deleted(store: DeviceStore, clock: Clock) -> None:
    for number in range(5):
        store.create_device(ALICE, LAMP, IdempotencyKey(f"{number}", b"1"))
    clock.time += timedelta(hours=25)
    store.create_device(BOB, LAMP, IdempotencyKey("new", b"1"))
    with store._database.connect() as connection:
        assert [row.key for row in connection.execute(select(idempotency_keys))] == ["new"]


def test_a_key_of_another_owner_is_another_key(store: DeviceStore) -> None:
    made = {store.create_device(owner, LAMP, IdempotencyKey("key", b"1")).id for owner in (ALICE, BOB, OTHER_ALICE)}
    assert len(made) == 3


def test_a_key_with_another_body_is_refused(store: DeviceStore) -> None:
    first = store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1"))
    with pytest.raises(IdempotencyKeyReused):
        store.create_device(ALICE, replace(LAMP, name="x"), IdempotencyKey("key", b"2"))
    assert store.list_devices(ALICE, limit=10) == [first]


def test_concurrent_repetitions_create_one_device(store: DeviceStore) -> None:
    with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
        made = list(pool.map(lambda _: store.create_device(ALICE, LAMP, IdempotencyKey("key", b"1")), range(24)))
    assert store.list_devices(ALICE, limit=10) == [made[0]]
    assert all(device == made[0] for device in made)
