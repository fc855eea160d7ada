"""Adds up the metrics of all processes for prometheus_client, which writes them in Prometheus's format."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from .kinds import AnyMetric, Gauge, Histogram
from .memory import Memory

_COMBINATIONS: dict[str, Callable[[Iterable[float]], float]] = {"sum": math.fsum, "min": min, "max": max}


class MemoryCollector(Collector):
    """Collects `metrics` from all processes that share `memory`."""

    def __init__(self, metrics: Sequence[AnyMetric], memory: Memory) -> None:
        self._metrics, self._memory = metrics, memory

    def collect(self) -> Iterator[MetricFamily]:
        """Yield each metric, with the series that any process has used.

        A counter or histogram without labels has a series from the start, so that its first increase is seen.
        """
        found: defaultdict[str, defaultdict[tuple[str, ...], list[list[float]]]]
        found = defaultdict(lambda: defaultdict(list))
        for key, values in self._memory.read():
            found[key.name][key.labels].append(values)
        for metric in self._metrics:
            series = found[metric.name]
            if not metric.labelnames and not series and not isinstance(metric, Gauge):
                size = len(metric.upper_bounds) + 1 if isinstance(metric, Histogram) else 1
                series[()] = [[0.0] * size]
            yield _family(metric, series)


def _family(metric: AnyMetric, series: dict[tuple[str, ...], list[list[float]]]) -> MetricFamily:
    family: Any  # the three kinds take different arguments
    if isinstance(metric, Histogram):
        family = HistogramMetricFamily(metric.name, metric.documentation, labels=metric.labelnames)
        bounds = ["+Inf" if bound == math.inf else str(bound) for bound in metric.upper_bounds]
        for labels, processes in series.items():
            *counts, total = map(sum, zip(*processes, strict=True))
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    elif isinstance(metric, Gauge):
        family = GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labelnames)
        combine = _COMBINATIONS[metric.across]
        for labels, processes in series.items():
            family.add_metric(labels, combine(value for (value,) in processes))
    else:
        family = CounterMetricFamily(metric.name, metric.documentation, labels=metric.labelnames)
        for labels, processes in series.items():
            family.add_metric(labels, sum(value for (value,) in processes))
    return family  # type: ignore[no-any-return]  # as above
