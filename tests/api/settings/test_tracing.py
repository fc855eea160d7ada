import pytest

from tests.kit.settings import load, mistakes


@pytest.mark.parametrize(
    ("variables", "is_asked"),
    [
        ({"OTEL_SERVICE_NAME": "a"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector.example/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_variables_that_ask_for_traces(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, is_asked: bool
) -> None:
    assert load(monkeypatch, **variables).tracing is is_asked


@pytest.mark.parametrize(
    ("name", "value", "mistake"),
    [
        ("OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_EXPORTER: console is not one of otlp, none."),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not supported; http/protobuf is.",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "a:secret@b", "OTEL_EXPORTER_OTLP_ENDPOINT: is not an http or https URL."),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:x", "OTEL_EXPORTER_OTLP_ENDPOINT: is not a URL."),
    ],
)
def test_mistakes_in_these_variables_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, mistake: str
) -> None:
    assert mistakes(monkeypatch, **{"OTEL_TRACES_EXPORTER": "otlp", name: value}) == (mistake,)
