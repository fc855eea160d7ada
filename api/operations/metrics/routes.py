"""/metrics for Prometheus."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from api.auth import __version__, open_to_all

from .catalogue import BUILD_INFO, METRICS
from .collector import MemoryCollector
from .kinds import MEMORY
from .process import ProcessCollector

metrics = Blueprint("metrics", __name__)

_registry = CollectorRegistry()
_registry.register(MemoryCollector(METRICS, MEMORY))
_registry.register(ProcessCollector(MEMORY.pids))


@metrics.get("/metrics")
@open_to_all
def show() -> Response:
    """Return the metrics of all processes in Prometheus's text format."""
    BUILD_INFO.labels(__version__).set(1)
    return Response(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
