"""Time calls in short alternating batches, so that other load on the machine slows all of them equally."""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_ROUNDS = 150
_BATCH_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one call in microseconds: the median over all batches."""

    microseconds: float
    ratios: Mapping[str, float]

    def against(self, other: str) -> float:
        """Return this time divided by that of `other`: the median of the ratios of neighbouring batches."""
        return self.ratios[other]


def compare(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    """Time each contender, in turns; garbage collection is off, as in `timeit`."""
    counts = {name: _batch_size(call) for name, call in contenders.items()}
    batches: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(_ROUNDS):
            for name, call in contenders.items():
                batches[name].append(_time(call, counts[name]))
    finally:
        gc.enable()
    return {
        name: Timing(
            statistics.median(mine) * 1e6,
            {
                other: statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
                for other, theirs in batches.items()
            },
        )
        for name, mine in batches.items()
    }


def _time(call: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count


def _batch_size(call: Callable[[], object]) -> int:
    for _ in range(50):
        call()
    return max(1, int(_BATCH_SECONDS / min(_time(call, 20) for _ in range(5))))


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
