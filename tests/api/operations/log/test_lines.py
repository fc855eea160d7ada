import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.operations.log.lines import json_line, request_line

TEXTS = st.text(max_size=20)


@given(
    route=TEXTS | st.none(),
    duration_ms=st.floats(min_value=0, max_value=1e9).map(lambda number: round(number, 2)),
    more=st.none() | st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=3),
)
def test_the_line_of_a_request_is_that_of_any_event(
    route: str | None, duration_ms: float, more: dict[str, Any] | None
) -> None:
    members: dict[str, Any] = {
        "request_id": "abc-1_2.3",
        "method": "GET",
        "route": route,
        "status": 200,
        "duration_ms": duration_ms,
    }
    line = request_line("info", **members, more=more)
    expected = json_line("request", "info", members | (more or {}))
    if more is None or members.keys().isdisjoint(more):
        assert _without_time(line) == _without_time(expected)
    assert line.endswith("}\n")


def _without_time(line: str) -> str:
    shown = json.loads(line)
    return line.replace(shown["timestamp"], "", 1)
