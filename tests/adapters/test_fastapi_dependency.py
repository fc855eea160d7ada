import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple

import pytest
from fastapi import Depends, FastAPI

from adapters.fastapi_dependency import BearerToken, answer_refusals
from api.auth import AccessToken, Requirement, TokenVerifier
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
from tests.adapters.servers import serving_asgi, serving_wsgi
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import jwks


def make_app(verifier: TokenVerifier) -> FastAPI:
    app = FastAPI()
    answer_refusals(app, realm=REALM)
    for path, requirement in REQUIREMENTS.items():

        @app.get(path)
        async def view(
            token: Annotated[AccessToken | None, Depends(BearerToken(verifier, requirement))],
        ) -> dict[str, str | None]:
            return {"subject": token.subject if token else None}

    @app.get("/open")
    async def open_view() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/number")
    async def number(
        n: int, token: Annotated[AccessToken, Depends(BearerToken(verifier, Requirement()))]
    ) -> dict[str, str | int]:
        return {"n": n, "subject": token.subject}

    return app


class Served(NamedTuple):
    origin: str
    flask_origin: str
    key_server: KeyServer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with KeyServer() as key_server:
        key_server.publish(jwks(KEY))
        verifier = make_verifier(key_server)
        with serving_asgi(make_app(verifier)) as origin, serving_wsgi(flask_app(verifier)) as flask_origin:
            yield Served(origin, flask_origin, key_server)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_it_answers_as_flask(served: Served, row: Row) -> None:
    authorizations = row.authorizations(served.key_server)
    answer = get(served.origin, row.path, authorizations)
    check(answer, row)
    assert answer == get(served.flask_origin, row.path, authorizations)


def test_without_keys_it_answers_503_as_flask(key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    verifier = make_verifier(key_server)
    with serving_asgi(make_app(verifier)) as origin, serving_wsgi(flask_app(verifier)) as flask_origin:
        answer = get(origin, "/any", [bearer(key_server)])
        assert answer._replace(retry_after=None) == get(flask_origin, "/any", [bearer(key_server)])._replace(
            retry_after=None
        )
    assert (answer.status, answer.body["error"], answer.challenge) == (503, "temporarily_unavailable", None)
    assert int(answer.retry_after or 0) >= 1


def test_other_requests_are_answered_while_keys_are_fetched(key_server: KeyServer) -> None:
    asked = key_server.hang_keys()
    with serving_asgi(make_app(make_verifier(key_server))) as origin, ThreadPoolExecutor() as pool:
        waiting = pool.submit(get, origin, "/any", [bearer(key_server)])
        assert asked.wait(timeout=10)
        asked_at = time.monotonic()
        assert get(origin, "/open").status == 200
        assert time.monotonic() - asked_at < SOONER_SECONDS
        key_server.released.set()
        assert waiting.result().status == 503


def test_a_refusal_comes_before_the_complaint_about_a_parameter(served: Served) -> None:
    assert get(served.origin, "/number?n=x").status == 401
    assert get(served.origin, "/number?n=x", [bearer(served.key_server)]).status == 422
    assert get(served.origin, "/number?n=1", [bearer(served.key_server)]).body == {"n": 1, "subject": "user-1"}


def test_it_protects_all_routes_of_an_application(key_server: KeyServer) -> None:
    app = FastAPI(dependencies=[Depends(BearerToken(make_verifier(key_server), Requirement()))])
    answer_refusals(app)

    @app.get("/things")
    async def things() -> dict[str, str]:
        return {"status": "ok"}

    with serving_asgi(app) as origin:
        assert get(origin, "/things").status == 401
        assert get(origin, "/things", [bearer(key_server)]).status == 200


def test_openapi_shows_the_scheme_of_protected_routes_alone(served: Served) -> None:
    contract = get(served.origin, "/openapi.json").body
    scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert contract["components"]["securitySchemes"] == {"BearerToken": scheme}
    assert contract["paths"]["/any"]["get"]["security"] == [{"BearerToken": []}]
    assert "security" not in contract["paths"]["/open"]["get"]


def test_a_refusal_that_nobody_answers_is_an_error_of_the_server(key_server: KeyServer) -> None:
    app = FastAPI()

    @app.get("/things", dependencies=[Depends(BearerToken(make_verifier(key_server), Requirement()))])
    async def things() -> dict[str, str]:
        raise AssertionError("the view ran")

    with serving_asgi(app) as origin:
        assert get(origin, "/things").status == 500
