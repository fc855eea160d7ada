"""The JSON written by hand equals what the schemas dump."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from api.devices.models import KINDS, METRICS, STATUSES, Device, Reading
from api.devices.representations import device_json, reading_json
from api.devices.schemas import DeviceSchema, ReadingSchema

times = st.datetimes(timezones=st.just(UTC))
texts = st.text(min_size=1, max_size=100)


@given(
    st.builds(
        Device,
        id=st.from_regex(r"dev_[0-9a-f]{20}", fullmatch=True),
        name=texts,
        kind=st.sampled_from(KINDS),
        model=texts,
        location=texts | st.none(),
        status=st.sampled_from(STATUSES),
        created_at=times,
        last_seen_at=times | st.none(),
    )
)
def test_a_device(device: Device) -> None:
    assert list(json.loads(device_json(device)).items()) == list(DeviceSchema().dump(device).items())


@given(
    st.builds(
        Reading,
        time=times | st.just(datetime(2026, 11, 21, tzinfo=UTC)),
        metric=st.sampled_from(list(METRICS)),
        value=st.floats(-1e12, 1e12),
        unit=texts,
    )
)
def test_a_reading(reading: Reading) -> None:
    assert list(json.loads(reading_json(reading)).items()) == list(ReadingSchema().dump(reading).items())
