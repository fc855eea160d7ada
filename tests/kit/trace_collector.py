"""A collector that receives traces by OTLP/HTTP, as the OpenTelemetry Collector does."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as the collector got it; ids in hexadecimal digits, `parent_id` empty for a root span."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    status: str
    attributes: Mapping[str, object]
    resource: Mapping[str, object]


class TraceCollector:
    """Listens on an ephemeral port of loopback; a context manager. `raw` is every body that came."""

    def __init__(self, *, status: int = 200) -> None:
        self.spans: list[ReceivedSpan] = []
        self.raw: list[bytes] = []
        self.is_hanging = False
        self._released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.is_hanging:
                    collector._released.wait()
                if self.path == "/v1/traces" and status == 200:
                    collector.raw.append(body)
                    collector.spans += _decode(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def named(self, name: str) -> list[ReceivedSpan]:
        """Return the spans of this name that came so far."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, is_complete: Callable[[], bool]) -> None:
        """Wait until spans of another process are complete."""
        deadline = time.monotonic() + 20
        while not is_complete():
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.05)  # another process: the test cannot control its clock


def _decode(body: bytes) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            name=span.name,
            kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
            attributes=_values(span.attributes),
            resource=_values(resource_spans.resource.attributes),
        )
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def _values(attributes: Any) -> dict[str, object]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}
