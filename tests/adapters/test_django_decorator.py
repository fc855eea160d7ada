import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from adapters.django_decorator import BearerAuth
from api.auth import AccessToken, Requirement, TokenVerifier
from tests.adapters.django_project import serving_django
from tests.adapters.reference import (
    KEY,
    REALM,
    REQUIREMENTS,
    ROWS,
    SOONER_SECONDS,
    Row,
    bearer,
    check,
    flask_app,
    get,
    make_verifier,
)
from tests.adapters.servers import serving_wsgi
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import jwks


def subject(_request: HttpRequest, token: AccessToken | None) -> JsonResponse:
    return JsonResponse({"subject": token.subject if token else None})


async def async_subject(request: HttpRequest, token: AccessToken | None) -> JsonResponse:
    return subject(request, token)


def number(_request: HttpRequest, token: AccessToken, n: int) -> JsonResponse:
    return JsonResponse({"n": n, "subject": token.subject})


class Numbers(View):
    def get(self, request: HttpRequest, token: AccessToken, n: int) -> JsonResponse:
        return number(request, token, n)


class AsyncNumbers(View):
    async def get(self, request: HttpRequest, token: AccessToken, n: int) -> JsonResponse:
        return number(request, token, n)


async def open_view(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def make_urls(verifier: TokenVerifier, *, is_async: bool) -> list[URLPattern]:
    auth = BearerAuth(verifier, realm=REALM)
    any_token = auth.require(Requirement())
    view: Any = async_subject if is_async else subject
    paths = [path(name[1:], auth.require(requirement)(view)) for name, requirement in REQUIREMENTS.items()]
    return [
        *paths,
        path("open", open_view),
        path("function/<int:n>", any_token(number)),
        path("class/<int:n>", any_token(Numbers.as_view())),
        path("async-class/<int:n>", any_token(AsyncNumbers.as_view())),
    ]


def serving(verifier: TokenVerifier, *, is_async: bool) -> AbstractContextManager[str]:
    return serving_django(make_urls(verifier, is_async=is_async), is_async=is_async)


class Served(NamedTuple):
    origin: str
    flask_origin: str
    key_server: KeyServer


@pytest.fixture(scope="module", params=[False, True], ids=["sync", "async"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with KeyServer() as key_server:
        key_server.publish(jwks(KEY))
        verifier = make_verifier(key_server)
        with serving(verifier, is_async=request.param) as origin, serving_wsgi(flask_app(verifier)) as flask_origin:
            yield Served(origin, flask_origin, key_server)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_it_answers_as_flask(served: Served, row: Row) -> None:
    authorizations = row.authorizations(served.key_server)
    answer = get(served.origin, row.path, authorizations)
    check(answer, row)
    assert answer == get(served.flask_origin, row.path, authorizations)


@pytest.mark.parametrize("is_async", [False, True])
def test_without_keys_it_answers_503_as_flask(key_server: KeyServer, *, is_async: bool) -> None:
    key_server.break_keys(document(b"", status=500))
    verifier = make_verifier(key_server)
    with serving(verifier, is_async=is_async) as origin, serving_wsgi(flask_app(verifier)) as flask_origin:
        answer = get(origin, "/any", [bearer(key_server)])
        of_flask = get(flask_origin, "/any", [bearer(key_server)])
    assert answer._replace(retry_after=None) == of_flask._replace(retry_after=None)
    assert (answer.status, answer.body["error"], answer.challenge) == (503, "temporarily_unavailable", None)
    assert int(answer.retry_after or 0) >= 1


def test_other_requests_are_answered_while_an_async_view_waits_for_keys(key_server: KeyServer) -> None:
    asked = key_server.hang_keys()
    with serving(make_verifier(key_server), is_async=True) as origin, ThreadPoolExecutor() as pool:
        waiting = pool.submit(get, origin, "/any", [bearer(key_server)])
        assert asked.wait(timeout=10)
        asked_at = time.monotonic()
        assert get(origin, "/open").status == 200
        assert time.monotonic() - asked_at < SOONER_SECONDS
        key_server.released.set()
        assert waiting.result().status == 503


@pytest.mark.parametrize("view", ["function", "class", "async-class"])
def test_a_view_gets_the_token_before_the_arguments_of_the_path(served: Served, view: str) -> None:
    assert get(served.origin, f"/{view}/7").status == 401
    assert get(served.origin, f"/{view}/7", [bearer(served.key_server)]).body == {"n": 7, "subject": "user-1"}


def test_a_view_keeps_its_name_and_what_decorators_said_of_it(key_server: KeyServer) -> None:
    any_token: Callable[..., Any] = BearerAuth(make_verifier(key_server)).require(Requirement())
    protected = any_token(csrf_exempt(subject))
    assert (protected.__name__, protected.csrf_exempt) == ("subject", True)
