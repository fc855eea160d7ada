"""One request through Flask, in this process: the same view unprotected and protected."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from api.auth import Auth, open_to_all, require_auth

from .tokens import Sample

UNPROTECTED = "a Flask route, unprotected"
PROTECTED = "the same, protected, token in the cache"
PROTECTED_UNCACHED = "the same, protected, token not in the cache"


def contenders(sample: Sample) -> dict[str, Callable[[], object]]:
    """Return a function per route that sends a request; each was checked to return 200."""
    header = f"Bearer {sample.token}"
    cached, uncached = (application(sample, size) for size in (100, 0))
    return {
        UNPROTECTED: timed_request(cached, "/open", header),
        PROTECTED: timed_request(cached, "/protected", header),
        PROTECTED_UNCACHED: timed_request(uncached, "/protected", header),
    }


def application(sample: Sample, token_cache_size: int) -> Flask:
    """Return an application with one route of each kind."""
    app = Flask(__name__)
    Auth(sample.verifier(token_cache_size=token_cache_size)).init_app(app)

    @app.get("/open")
    @open_to_all
    def unprotected() -> str:
        return "ok"

    @app.get("/protected")
    @require_auth("read:devices")
    def protected() -> str:
        return "ok"

    return app


def timed_request(app: Flask, path: str, authorization: str) -> Callable[[], object]:
    """Return a function that sends one request; raise RuntimeError unless it returns 200."""
    # Also to the unprotected route: then only the protection differs.
    environ = EnvironBuilder(path=path).get_environ() | {"HTTP_AUTHORIZATION": authorization}
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, _exc_info: Any = None) -> Any:
        statuses[:] = [status]

    def request() -> Iterable[bytes]:
        body = app(dict(environ), start_response)
        for _ in body:
            pass
        body.close()  # type: ignore[attr-defined]  # Werkzeug's iterables have it
        return body

    request()
    if not statuses[0].startswith("200"):
        raise RuntimeError(statuses[0])
    return request
