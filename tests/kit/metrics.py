"""Reads what this process has counted."""

from api.operations.metrics import METRICS
from api.operations.metrics.collector import MemoryCollector
from api.operations.metrics.kinds import MEMORY


def counted(sample_name: str, **labels: str) -> float:
    """Return the value of a sample, as /metrics shows it; 0 if it is absent."""
    return next(
        (
            sample.value
            for family in MemoryCollector(METRICS, MEMORY).collect()
            for sample in family.samples
            if sample.name == sample_name and sample.labels == labels
        ),
        0.0,
    )
