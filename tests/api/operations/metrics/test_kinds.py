"""The metrics count, and are exported, as those of prometheus_client."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from api.operations.metrics.collector import MemoryCollector
from api.operations.metrics.kinds import AnyMetric, Counter, Gauge, Histogram
from api.operations.metrics.memory import Memory

BOUNDS = (0.001, 0.5, 1, 3, 10)
LABELS = st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from([200, 404, 'a "b"\n\\']))
# Sums of these are exact, in any order.
AMOUNTS = st.integers(0, 12 * 1024).map(lambda number: number / 1024)
OPERATIONS = st.one_of(
    st.tuples(st.just("plain_counter"), st.none(), st.just("inc"), AMOUNTS),
    st.tuples(st.just("counter"), LABELS, st.just("inc"), AMOUNTS),
    st.tuples(st.just("gauge"), LABELS, st.sampled_from(["set", "inc", "dec"]), AMOUNTS),
    st.tuples(st.just("plain_histogram"), st.none(), st.just("observe"), AMOUNTS),
    st.tuples(st.just("histogram"), LABELS, st.just("observe"), AMOUNTS | st.sampled_from(BOUNDS[1:])),
)


def samples(registry: prometheus_client.CollectorRegistry) -> dict[str, Any]:
    """Return what Prometheus reads: the families by name, without the times of creation that we do not export."""
    text = prometheus_client.generate_latest(registry).decode()
    families = {}
    for family in text_string_to_metric_families(text):
        if not family.name.endswith("_created"):
            values = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in family.samples}
            families[family.name] = (family.type, family.documentation, values)
    return families


@given(st.lists(OPERATIONS, max_size=30))
def test_the_same_operations_are_exported_as_by_prometheus_client(operations: list[Any]) -> None:
    memory = Memory()
    reference, registry = prometheus_client.CollectorRegistry(), prometheus_client.CollectorRegistry()
    ours: dict[str, AnyMetric] = {
        "plain_counter": Counter("plain", "A sentence.", memory=memory),
        "counter": Counter("c_total", "A \\ sentence\nin two lines.", ("method", "status"), memory=memory),
        "gauge": Gauge("g", "", ("method", "status"), across="sum", memory=memory),
        "plain_histogram": Histogram("plain_seconds", "Seconds.", memory=memory),
        "histogram": Histogram("h", "Seconds.", ("method", "status"), buckets=BOUNDS, memory=memory),
    }
    theirs: dict[str, Any] = {
        "plain_counter": prometheus_client.Counter("plain", "A sentence.", registry=reference),
        "counter": prometheus_client.Counter(
            "c_total", "A \\ sentence\nin two lines.", ("method", "status"), registry=reference
        ),
        "gauge": prometheus_client.Gauge("g", "", ("method", "status"), registry=reference),
        "plain_histogram": prometheus_client.Histogram("plain_seconds", "Seconds.", registry=reference),
        "histogram": prometheus_client.Histogram(
            "h", "Seconds.", ("method", "status"), buckets=BOUNDS, registry=reference
        ),
    }
    for name, labels, operation, amount in operations:
        for metrics in (ours, theirs):
            metric: Any = metrics[name]
            getattr(metric.labels(*labels) if labels else metric, operation)(amount)
    registry.register(MemoryCollector(tuple(ours.values()), memory))
    assert samples(registry) == samples(reference)


@pytest.fixture
def often_switching_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often_switching_threads")
def test_threads_lose_no_increment() -> None:
    memory = Memory()
    counter, histogram = Counter("c", "", ("a",), memory=memory), Histogram("h", "", memory=memory)
    gauge = Gauge("g", "", across="sum", memory=memory)

    def count(_thread: int) -> None:
        for _ in range(5000):
            counter.labels("b").inc()
            histogram.observe(0.5)
            gauge.inc()
            gauge.dec(2)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))
    read = {key.name: values for key, values in memory.read()}
    assert len(memory.read()) == 3
    assert read["c_total"] == [40_000]
    assert sum(read["h"]) == 60_000
    assert read["g"] == [-40_000]


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c")])
def test_a_wrong_number_of_labels_is_refused(values: tuple[str, ...]) -> None:
    counter = Counter("c", "", ("method", "status"), memory=Memory())
    with pytest.raises(ValueError, match="c_total has 2 labels, not"):
        counter.labels(*values)


def test_a_label_value_is_its_text() -> None:
    memory = Memory()
    counter = Counter("c", "", ("status",), memory=memory)
    counter.labels(200).inc()
    counter.labels("200").inc()
    assert counter.labels(200) is counter.labels("200")
    assert [(key.labels, values) for key, values in memory.read()] == [(("200",), [2])]


def test_a_series_kept_by_its_caller_counts_in_new_memory_too() -> None:
    memory = Memory()
    series = Counter("c", "", ("a",), memory=memory).labels("b")
    gauge = Gauge("g", "", across="max", memory=memory)
    series.inc()
    gauge.set(1)
    assert memory.share(1)
    series.inc()
    totals = [values[0] for key, values in memory.read() if key.kind == "counter"]
    assert sum(totals) == 2
    # A gauge belongs to the process as it was, before it started others.
    assert [key.kind for key, _ in memory.read()].count("gauge") == 0
