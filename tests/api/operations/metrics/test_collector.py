from typing import Literal

import pytest

from api.operations.metrics.collector import MemoryCollector
from api.operations.metrics.kinds import AnyMetric, Counter, Gauge, Histogram
from api.operations.metrics.memory import Key, Memory


class ThreeProcesses(Memory):
    """The memory of three processes."""

    def read(self) -> list[tuple[Key, list[float]]]:
        gauges = [(Key("gauge", "g", ()), [float(value)]) for value in (2, 0.5, 7)]
        counters = [(Key("counter", "c_total", ("a",)), [float(value)]) for value in (1, 2, 4)]
        histograms = [
            (Key("histogram", "h", ()), [1.0, 0.0, 2.0, 9.5]),
            (Key("histogram", "h", ()), [4.0, 1.0, 0.0, 1]),
        ]
        return [*gauges, *counters, *histograms, (Key("counter", "unknown_total", ()), [1.0])]


@pytest.mark.parametrize(("across", "expected"), [("sum", 9.5), ("min", 0.5), ("max", 7)])
def test_a_gauge_says_how_the_processes_are_combined(across: Literal["sum", "min", "max"], expected: float) -> None:
    memory = ThreeProcesses()
    (family,) = MemoryCollector([Gauge("g", "", across=across, memory=memory)], memory).collect()
    assert [sample.value for sample in family.samples] == [expected]


def test_counters_and_histograms_are_sums() -> None:
    memory = ThreeProcesses()
    counter = Counter("c", "", ("label",), memory=memory)
    histogram = Histogram("h", "", buckets=(0.5, 1), memory=memory)
    counted, observed = MemoryCollector([counter, histogram], memory).collect()
    assert [(sample.name, sample.labels, sample.value) for sample in counted.samples] == [
        ("c_total", {"label": "a"}, 7)
    ]
    assert [(sample.name, sample.labels, sample.value) for sample in observed.samples] == [
        ("h_bucket", {"le": "0.5"}, 5),
        ("h_bucket", {"le": "1.0"}, 6),
        ("h_bucket", {"le": "+Inf"}, 8),
        ("h_count", {}, 8),
        ("h_sum", {}, 10.5),
    ]


def test_what_has_not_happened_is_zero_and_what_is_not_known_is_absent() -> None:
    memory = Memory()
    metrics: list[AnyMetric] = [
        Counter("c", "", memory=memory),
        Counter("with_labels", "", ("a",), memory=memory),
        Gauge("g", "", across="min", memory=memory),
        Histogram("h", "", buckets=(1,), memory=memory),
    ]
    families = list(MemoryCollector(metrics, memory).collect())
    assert [[sample.value for sample in family.samples] for family in families] == [[0], [], [], [0, 0, 0, 0]]
