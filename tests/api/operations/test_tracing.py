import contextlib
import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from api.app import create_app
from api.auth.introspection import Introspection
from api.operations.log.configuration import configure_logging
from api.operations.tracing import Tracing
from api.settings import Settings
from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer, document
from tests.kit.processes import BIN, ROOT, environment, free_port, running, running_api
from tests.kit.running_api import KEY, Bearer
from tests.kit.signing import claims
from tests.kit.trace_collector import ReceivedSpan, TraceCollector

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    with TraceCollector() as collector:
        yield collector


class TracedApi:
    """The API in this process, traced; its spans arrive before `get` returns."""

    def __init__(self, client: FlaskClient, tracing: Tracing, collector: TraceCollector) -> None:
        self.client = client
        self._tracing = tracing
        self._collector = collector

    def get(self, path: str, status: int, **headers: str) -> dict[str, ReceivedSpan]:
        """Send a request; return the new spans by name."""
        self._collector.spans.clear()
        assert self.client.get(path, headers=headers).status_code == status
        self._tracing.flush()
        return {span.name: span for span in self._collector.spans}


@pytest.fixture
def traced(settings: Settings, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracedApi]:
    with traced_api(settings, collector, monkeypatch) as traced:
        yield traced


@contextlib.contextmanager
def traced_api(settings: Settings, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracedApi]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    create_tables(settings.database_url)
    made: list[Tracing] = []
    initialize = Tracing.__init__

    def remember(tracing: Tracing, *args: object) -> None:
        initialize(tracing)
        made.append(tracing)

    monkeypatch.setattr(Tracing, "__init__", remember)
    app = create_app(dataclasses.replace(settings, tracing=True))
    (tracing,) = made
    yield TracedApi(app.test_client(), tracing, collector)
    tracing.close()
    app.extensions["device_store"].close()


def test_a_request_has_spans_for_itself_its_token_and_its_statements(traced: TracedApi, bearer: Bearer) -> None:
    spans = traced.get("/v1/devices?limit=7", 200, **bearer())
    request = spans["GET /v1/devices"]
    assert request.kind == "SERVER"
    assert request.parent_id == ""
    assert request.status == "UNSET"
    assert request.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/v1/devices",
        "http.response.status_code": 200,
    }
    assert request.resource["service.name"] == "device-api"
    verification = spans["verify token"]
    assert verification.parent_id == request.span_id
    assert verification.attributes == {"auth.outcome": "accepted", "auth.remembered": False}
    statement = spans["SELECT"]
    assert (statement.kind, statement.parent_id) == ("CLIENT", request.span_id)
    assert statement.attributes == {"db.system.name": "sqlite", "db.operation.name": "SELECT"}


def test_a_fetch_of_keys_has_a_trace_of_its_own(traced: TracedApi, bearer: Bearer, key_server: KeyServer) -> None:
    spans = traced.get("/v1/me", 200, **bearer())
    fetch = spans["fetch keys"]
    assert fetch.parent_id == ""
    assert fetch.trace_id != spans["GET /v1/me"].trace_id
    assert fetch.attributes == {"auth.issuer": key_server.issuer, "auth.outcome": "fetched", "auth.key_count": 1}


def test_a_failed_fetch_is_an_error_and_so_is_the_request(
    traced: TracedApi, bearer: Bearer, key_server: KeyServer
) -> None:
    key_server.break_keys(document(b"", status=500))
    spans = traced.get("/v1/me", 503, **bearer())
    assert spans["fetch keys"].status == "ERROR"
    assert spans["fetch keys"].attributes["auth.outcome"] == "failed"
    assert spans["verify token"].status == "ERROR"
    assert spans["GET /v1/me"].status == "ERROR"
    assert spans["GET /v1/me"].attributes["error.type"] == "503"


def test_an_issuer_that_does_not_answer_about_a_token_is_an_error(
    settings: Settings, key_server: KeyServer, collector: TraceCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_server.answers["/introspect"] = document(b"", status=500)
    asks = Introspection(client_id="api", client_secret="s", endpoint=f"{key_server.origin}/introspect")
    with traced_api(dataclasses.replace(settings, introspection=(asks,)), collector, monkeypatch) as traced:
        spans = traced.get("/v1/me", 503, Authorization="Bearer opaque")
        assert spans["verify token"].status == "ERROR"
        key_server.answers["/introspect"] = document(b'{"active":false}')
        spans = traced.get("/v1/me", 401, Authorization="Bearer opaque")
        assert spans["verify token"].status == "UNSET"
        assert spans["verify token"].attributes == {"auth.outcome": "refused", "auth.reason": "inactive"}


def test_a_token_that_is_remembered(traced: TracedApi, bearer: Bearer) -> None:
    headers = bearer()
    traced.get("/v1/me", 200, **headers)
    spans = traced.get("/v1/me", 200, **headers)
    assert spans["verify token"].attributes == {"auth.outcome": "accepted", "auth.remembered": True}
    assert "fetch keys" not in spans


def test_a_refused_token_has_its_reason_and_is_no_error(traced: TracedApi, bearer: Bearer) -> None:
    spans = traced.get("/v1/me", 401, **bearer(aud="other"))
    assert spans["verify token"].attributes == {"auth.outcome": "refused", "auth.reason": "audience"}
    assert spans["verify token"].status == "UNSET"
    assert spans["GET /v1/me"].status == "UNSET"


def test_a_failed_statement_is_an_error_without_its_text(
    traced: TracedApi, bearer: Bearer, settings: Settings, collector: TraceCollector
) -> None:
    Path(settings.database_url.removeprefix("sqlite:///")).write_bytes(b"")
    spans = traced.get("/v1/devices", 503, **bearer(sub="subject-to-hide"))
    (failed,) = [span for span in collector.spans if "error.type" in span.attributes and span.kind == "CLIENT"]
    assert failed.attributes["error.type"] == "OperationalError"
    assert failed.status == "ERROR"
    assert spans["GET /v1/devices"].attributes["http.response.status_code"] == 503
    assert b"subject-to-hide" not in b"".join(collector.raw)
    assert b"owners" not in b"".join(collector.raw)


def test_no_span_has_the_query_the_token_an_id_or_the_subject(
    traced: TracedApi, bearer: Bearer, collector: TraceCollector
) -> None:
    headers = bearer(sub="subject-to-hide", client_id="client-to-hide", jti="jti-to-hide")
    traced.get("/v1/devices/dev_0123456789abcdef0123?access_token=query-to-hide", 400, **headers)
    traced.get("/v1/devices/dev_0123456789abcdef0123", 404, **headers)
    traced.get("/v1/path-to-hide", 404, **headers)
    traced.get("/v1/me", 401, Authorization="Bearer token-to-hide")
    traced.get("/v1/me", 200, **headers, **{"User-Agent": "agent-to-hide", "X-Forwarded-For": "address-to-hide"})
    sent = b"".join(collector.raw)
    assert b"/v1/devices/<device_id>" in sent
    assert b"to-hide" not in sent
    assert b"dev_0123" not in sent
    assert headers["Authorization"].encode()[7:40] not in sent


def test_an_invented_method_is_not_recorded(traced: TracedApi, collector: TraceCollector) -> None:
    collector.spans.clear()
    traced.client.open("/v1/me", method="INVENTED")
    traced.get("/v1/me", 401)
    (span,) = (span for span in collector.spans if span.attributes.get("http.request.method") == "_OTHER")
    assert span.name == "HTTP"
    assert b"INVENTED" not in b"".join(collector.raw)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_what_the_platform_sends_all_the_time_is_not_traced(traced: TracedApi, path: str) -> None:
    traced.get("/v1/me", 401)
    assert traced.get(path, 200) == {} or path == "/readyz"
    assert "GET " + path not in traced.get(path, 200)


def test_the_callers_trace_is_continued(traced: TracedApi) -> None:
    span = traced.get("/v1/me", 401, traceparent=TRACEPARENT, tracestate="vendor=value")["GET /v1/me"]
    assert (span.trace_id, span.parent_id) == (TRACE_ID, PARENT_ID)


def test_a_caller_that_is_not_sampled_is_not_sampled_here(traced: TracedApi) -> None:
    assert traced.get("/v1/me", 401, traceparent=TRACEPARENT[:-1] + "0") == {}


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"00-{TRACE_ID}-{PARENT_ID}",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT},{TRACEPARENT}",
        f"{TRACEPARENT} é",
        TRACEPARENT + " " * 8_000,
    ],
)
def test_an_invalid_traceparent_is_ignored(traced: TracedApi, traceparent: str) -> None:
    span = traced.get("/v1/me", 401, traceparent=traceparent)["GET /v1/me"]
    assert span.parent_id == ""
    assert span.trace_id != TRACE_ID


def test_a_long_tracestate_is_ignored_and_the_trace_continued(traced: TracedApi) -> None:
    span = traced.get("/v1/me", 401, traceparent=TRACEPARENT, tracestate="a=1" + " " * 8_000 + "b")["GET /v1/me"]
    assert span.trace_id == TRACE_ID


def test_log_lines_of_a_request_name_its_span(traced: TracedApi, capsys: pytest.CaptureFixture[str]) -> None:
    span = traced.get("/v1/me", 401, traceparent=TRACEPARENT)["GET /v1/me"]
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (line["event"], line["trace_id"], line["span_id"]) == ("request", TRACE_ID, span.span_id)


def test_a_collector_that_fails_is_logged_once_and_so_is_its_return(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(logging.INFO)
    with TraceCollector(status=400) as collector:
        failing = OTLPSpanExporter(endpoint=f"{collector.endpoint}/v1/traces")
        tracing = Tracing(failing)
        for _ in range(2):
            tracing.tracer.start_span("a").end()
            tracing.flush()
        with TraceCollector() as working:
            failing._client._endpoint = f"{working.endpoint}/v1/traces"
            tracing.tracer.start_span("b").end()
            tracing.flush()
            assert [span.name for span in working.spans] == ["b"]
        tracing.close()
    written = capsys.readouterr().err
    assert written.count("traces_lost") == 1
    assert written.count("traces_found") == 1
    assert "Failed" not in written


def test_the_end_of_a_process_waits_two_seconds_for_a_collector_that_hangs(
    collector: TraceCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector.is_hanging = True
    tracing = Tracing()
    for _ in range(16):
        tracing.tracer.start_span("a").end()
    started = time.monotonic()
    tracing.close()
    # The exporter's own limit is 10 s for each of the four batches, and 30 s together.
    assert time.monotonic() - started < 8


# Without the variables


def test_without_the_variables_nothing_is_imported_and_no_hook_is_there(tmp_path: Path) -> None:
    # In a process of its own, in which importing OpenTelemetry fails: redis-py imports it too, where it is installed.
    program = """
import sys
sys.modules["opentelemetry"] = None
from api.app import create_app
from api.settings import load_settings
settings = load_settings()
assert settings.tracing is False
app = create_app(settings)
assert "api.operations.tracing" not in sys.modules
assert app.wsgi_app.__module__ == "api.operations.request_record"
assert type(app.extensions["token_verifier"]).__name__ == "TokenVerifier"
assert not app.extensions["database"].engine.dispatch.before_cursor_execute
assert not [hook for hook in app.after_request_funcs[None] if "tracing" in getattr(hook, "__module__", "")]
"""
    variables = {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "a", "OTEL_SERVICE_NAME": "named"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(variables), check=True, timeout=30)


# Real processes

SETTINGS = {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "a"}


def test_without_the_extra_the_server_says_so_and_does_not_start(tmp_path: Path) -> None:
    # A package without the SDK, as after `pip install opentelemetry-api`.
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    variables = {
        **SETTINGS, "PORT": str(free_port()), "OTEL_TRACES_EXPORTER": "otlp", "PYTHONPATH": f"{tmp_path}:{ROOT}"
    }  # fmt: skip
    result = subprocess.run(
        command, cwd=ROOT, env=environment(variables), check=False, capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 2, result.stderr
    assert "traces need device-api[tracing], which is not installed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["workers load it", "preloaded"])
def test_gunicorns_workers_send_their_spans_and_the_last_ones_at_sigterm(
    key_server: KeyServer, tmp_path: Path, collector: TraceCollector, options: tuple[str, ...]
) -> None:
    port = free_port()
    create_tables(f"sqlite:///{tmp_path}/devices.db")
    variables = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
        "API_ISSUERS": key_server.issuer,
        "API_AUDIENCE": "https://device-api.example",
        "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # milliseconds: nothing is sent before the end
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=named,deployment.environment.name=test",
    }
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", *options, "api:create_app()"]
    headers = {"Authorization": f"Bearer {KEY.sign(claims(iss=key_server.issuer))}", "traceparent": TRACEPARENT}
    with running(command, f"http://127.0.0.1:{port}/livez", **variables):
        for _ in range(8):
            assert requests.get(f"http://127.0.0.1:{port}/v1/me", headers=headers, timeout=10).status_code == 200
        assert collector.spans == []
    spans = collector.named("GET /v1/me")
    assert len(spans) == 8
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert spans[0].resource["service.name"] == "named"
    assert spans[0].resource["deployment.environment.name"] == "test"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hangs", "is down"])
def test_a_collector_that_fails_delays_no_request(key_server: KeyServer, tmp_path: Path, fault: str) -> None:
    with TraceCollector() as collector:
        collector.is_hanging = True
        endpoint = collector.endpoint if fault == "hangs" else f"http://127.0.0.1:{free_port()}"
        headers = {"Authorization": f"Bearer {KEY.sign(claims(iss=key_server.issuer))}"}
        # A queue of a few spans, so that it is full all the time.
        with (
            running_api(
                key_server.issuer,
                tmp_path,
                OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
                OTEL_BSP_MAX_QUEUE_SIZE="8",
                OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
            ) as url,
            requests.Session() as session,
        ):
            assert session.get(f"{url}/v1/me", headers=headers, timeout=10).status_code == 200
            for _ in range(200):
                started = time.monotonic()
                assert session.get(f"{url}/v1/me", headers=headers, timeout=10).status_code == 200
                assert time.monotonic() - started < 2
