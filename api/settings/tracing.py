"""Whether OpenTelemetry's standard variables ask for traces, and whether these can be sent."""

import importlib.util
from urllib.parse import urlsplit

from environs import Env
from marshmallow import ValidationError
from marshmallow.validate import OneOf

from api.settings.values import one_of, unless_empty

# What api/operations/tracing.py imports of the extra `tracing`.
_TRACING_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def asks_for_traces(env: Env) -> bool:
    """Return whether OpenTelemetry's standard variables ask for traces; their mistakes are kept in `env`."""
    if env.str("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    is_exporter = one_of(("otlp", "none"))
    exporter = env.str("OTEL_TRACES_EXPORTER", "", validate=unless_empty(is_exporter))
    endpoints = [
        env.str(name, "", validate=unless_empty(_check_collector))
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ]
    if exporter == "none" or not (exporter or any(endpoints)):
        return False
    is_protocol = OneOf(("http/protobuf",), error="{input} is not supported; http/protobuf is")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        env.str(name, "", validate=unless_empty(is_protocol))
    return True


def _check_collector(value: str) -> None:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError unless it is a number
    except ValueError as exc:
        raise ValidationError("is not a URL") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        # Without the value: it may contain a password.
        raise ValidationError("is not an http or https URL")


def mistakes_of_tracing() -> list[str]:
    """Return a sentence if the extra `tracing` is not installed."""
    try:
        is_installed = all(importlib.util.find_spec(name) for name in _TRACING_MODULES)
    except ModuleNotFoundError:  # a package around the module
        is_installed = False
    if is_installed:
        return []
    mistake = "traces need device-api[tracing], which is not installed; install it, or set OTEL_SDK_DISABLED=true."
    return [f"OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER: {mistake}"]
