from datetime import UTC, datetime

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from api.devices.storage.tables import DeviceTime, UtcDateTime, devices, readings


def test_a_devices_time_is_converted_once_and_as_any_other() -> None:
    convert, usual = (kind().result_processor(sqlite.dialect(), None) for kind in (DeviceTime, UtcDateTime))
    time = convert("2026-11-22 09:20:00.000001")
    assert time == usual("2026-11-22 09:20:00.000001") == datetime(2026, 11, 22, 9, 20, 0, 1, UTC)
    assert convert("2026-11-22 09:20:00.000001") is time
    assert convert("2026-11-22 09:20:00.000002") != time
    assert convert(None) is None


@pytest.mark.parametrize("kind", [DeviceTime, UtcDateTime])
def test_postgresql_returns_times_itself(kind: type[UtcDateTime]) -> None:
    time = datetime(2026, 11, 22, tzinfo=UTC)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types here
    assert kind().result_processor(dialect, None)(time) is time


def test_times_that_are_read_once_are_not_cached() -> None:
    assert {type(column.type) for column in devices.c if "_at" in column.name} == {DeviceTime}
    assert type(readings.c.time.type) is UtcDateTime
