"""The kinds of metrics: counters, gauges and histograms.

They are used like those of prometheus_client, but count in the memory that all processes share, and cost less.
"""

import math
import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from .memory import Key, Memory

MEMORY: Final = Memory()
MEMORY.follow_forks()

# prometheus_client's default.
DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class _Series:
    """The values of one metric with one set of label values, in this process."""

    def __init__(self, memory: Memory, key: Key, size: int) -> None:
        self._memory, self._key, self._size = memory, key, size
        self._lock: threading.RLock = memory.lock
        # None until the first use in this process: a process that only imports a metric has no entry.
        self._values: memoryview[float] | None = None

    def _add(self) -> "memoryview[float]":
        with self._lock:
            values = self._values = self._values or self._memory.add(self._key, self._size)
        # Without the lock: a log may block, and counts too.
        self._memory.log_fault()
        return values

    def forget_values(self) -> None:
        """Use other values from now on: these belong to another process, or were moved."""
        self._values = None


class CounterSeries(_Series):
    """A counter with its label values."""

    def inc(self, amount: float = 1) -> None:
        """Add `amount`, which must not be negative (not checked)."""
        values = self._values or self._add()
        with self._lock:
            values[0] += amount


class GaugeSeries(_Series):
    """A gauge with its label values, in this process."""

    def set(self, value: float) -> None:
        """Set the value."""
        values = self._values or self._add()
        with self._lock:
            values[0] = value

    def inc(self, amount: float = 1) -> None:
        """Add `amount`."""
        values = self._values or self._add()
        with self._lock:
            values[0] += amount

    def dec(self, amount: float = 1) -> None:
        """Subtract `amount`."""
        self.inc(-amount)


class HistogramSeries(_Series):
    """A histogram with its label values: the count of each bucket, and the sum."""

    def __init__(self, memory: Memory, key: Key, upper_bounds: tuple[float, ...]) -> None:
        super().__init__(memory, key, len(upper_bounds) + 1)
        self._upper_bounds = upper_bounds

    def observe(self, amount: float) -> None:
        """Count `amount` in its bucket, and add it to the sum."""
        bucket = bisect_left(self._upper_bounds, amount)
        values = self._values or self._add()
        with self._lock:
            values[bucket] += 1
            values[-1] += amount


_AnySeries = TypeVar("_AnySeries", bound=_Series)


class Metric(ABC, Generic[_AnySeries]):
    """A metric: its name as exported, its documentation, and the names of its labels.

    Label values must come from closed sets: a series is kept as long as the process, and the memory is limited.
    """

    kind: ClassVar[Literal["counter", "gauge", "histogram"]]

    def __init__(
        self, name: str, documentation: str, labelnames: tuple[str, ...] = (), *, memory: Memory = MEMORY
    ) -> None:
        self.name, self.documentation, self.labelnames = name, documentation, tuple(labelnames)
        self.memory = memory
        self._series: dict[tuple[Any, ...], _AnySeries] = {}
        memory.call_on_change(self._forget_values)

    @abstractmethod
    def _new_series(self, key: Key) -> _AnySeries:
        """Return a new series of this kind."""

    def labels(self, *values: object) -> _AnySeries:
        """Return the series with these label values. Raises ValueError if there are too many or too few."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self.labelnames):
                raise ValueError(f"{self.name} has {len(self.labelnames)} labels, not {len(values)}.")
            texts = tuple(map(str, values))
            with self.memory.lock:
                # 200 and "200" are one series.
                series = self._series.get(texts) or self._new_series(Key(self.kind, self.name, texts))
                self._series[texts] = self._series[values] = series
        return series

    def _forget_values(self) -> None:
        for series in self._series.values():
            series.forget_values()


class Counter(Metric[CounterSeries]):
    """A number that only grows. It is exported with the suffix `_total`, the sum over all processes."""

    kind = "counter"

    def __init__(
        self, name: str, documentation: str, labelnames: tuple[str, ...] = (), *, memory: Memory = MEMORY
    ) -> None:
        super().__init__(f"{name.removesuffix('_total')}_total", documentation, labelnames, memory=memory)

    def _new_series(self, key: Key) -> CounterSeries:
        return CounterSeries(self.memory, key, 1)

    def inc(self, amount: float = 1) -> None:
        """Add `amount` to a counter without labels."""
        self.labels().inc(amount)


class Gauge(Metric[GaugeSeries]):
    """A number of each process that lives; `across` says how the processes' numbers become one.

    It is exported once a process has set it.
    """

    kind = "gauge"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: tuple[str, ...] = (),
        *,
        across: Literal["sum", "min", "max"],
        memory: Memory = MEMORY,
    ) -> None:
        super().__init__(name, documentation, labelnames, memory=memory)
        self.across = across

    def _new_series(self, key: Key) -> GaugeSeries:
        return GaugeSeries(self.memory, key, 1)

    def set(self, value: float) -> None:
        """Set a gauge without labels."""
        self.labels().set(value)

    def inc(self, amount: float = 1) -> None:
        """Add `amount` to a gauge without labels."""
        self.labels().inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Subtract `amount` from a gauge without labels."""
        self.labels().dec(amount)


class Histogram(Metric[HistogramSeries]):
    """How many observed amounts were in which range, and their sum, over all processes."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: tuple[str, ...] = (),
        *,
        buckets: tuple[float, ...] = DEFAULT_BUCKETS,
        memory: Memory = MEMORY,
    ) -> None:
        """Set the inclusive upper bounds of the buckets, in ascending order; one without a bound is added."""
        super().__init__(name, documentation, labelnames, memory=memory)
        self.upper_bounds = (*(float(bound) for bound in buckets), math.inf)

    def _new_series(self, key: Key) -> HistogramSeries:
        return HistogramSeries(self.memory, key, self.upper_bounds)

    def observe(self, amount: float) -> None:
        """Count `amount` in a histogram without labels."""
        self.labels().observe(amount)


AnyMetric = Counter | Gauge | Histogram
