"""Tokens that are bound to a key, in FastAPI and in Django."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import pytest
import requests
from django.http import HttpRequest, JsonResponse
from django.urls import path
from fastapi import Depends, FastAPI

from adapters.django_decorator import BearerAuth
from adapters.fastapi_dependency import BearerToken, answer_refusals
from api.auth import AccessToken, Requirement, TokenVerifier
from api.auth.dpop import DPoP
from tests.adapters.django_project import serving_django
from tests.adapters.reference import KEY, bearer, make_verifier
from tests.adapters.servers import serving_asgi
from tests.api.auth.answers import parse_challenges
from tests.kit.key_server import KeyServer
from tests.kit.proofs import proof, thumbprint
from tests.kit.signing import ec_key, jwks

DEVICE = ec_key()
PUBLIC_URL = "https://api.example/below"
SECRET = b"s" * 32


class Served(NamedTuple):
    origin: str
    key_server: KeyServer
    token: str

    def send(self, path: str = "/things/1", *, url: str | None = None, **changes: Any) -> requests.Response:
        """Send the token with a proof for this path, or for another `url`."""
        made = proof(DEVICE, self.token, url=url or f"{PUBLIC_URL}{path.partition('?')[0]}", **changes)
        return self.send_proof(made, path)

    def send_proof(self, made: str, path: str = "/things/1") -> requests.Response:
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": made}
        return requests.get(self.origin + path, headers=headers, timeout=30)


def serving_fastapi(verifier: TokenVerifier, dpop: DPoP) -> Any:
    app = FastAPI()
    answer_refusals(app, dpop=dpop)
    dependency = Depends(BearerToken(verifier, Requirement(), dpop=dpop, resource_url=PUBLIC_URL))

    @app.get("/things/{name:path}")
    async def thing(name: str, token: Annotated[AccessToken, dependency]) -> dict[str, str | None]:
        return {"key": token.key_thumbprint}

    return serving_asgi(app)


def serving_in_django(verifier: TokenVerifier, dpop: DPoP) -> Any:
    auth = BearerAuth(verifier, dpop=dpop, resource_url=PUBLIC_URL)

    def thing(_request: HttpRequest, token: AccessToken, name: str) -> JsonResponse:
        return JsonResponse({"key": token.key_thumbprint})

    return serving_django([path("things/<path:name>", auth.require(Requirement())(thing))], is_async=False)


@pytest.fixture(scope="module", params=[serving_fastapi, serving_in_django], ids=["fastapi", "django"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with KeyServer() as key_server:
        key_server.publish(jwks(KEY))
        verifier = make_verifier(key_server)
        token = bearer(key_server, cnf={"jkt": thumbprint(DEVICE)}).removeprefix("Bearer ")
        serving: Callable[[TokenVerifier, DPoP], Any] = request.param
        with serving(verifier, DPoP(nonce_secret=SECRET)) as origin:
            yield Served(origin, key_server, token)


@pytest.fixture
def nonce(served: Served) -> str:
    refused = served.send()
    assert (refused.status_code, refused.json()["error"]) == (401, "use_dpop_nonce")
    assert [scheme for scheme, _ in parse_challenges(refused.headers["WWW-Authenticate"])] == ["DPoP", "Bearer"]
    return refused.headers["DPoP-Nonce"]


@pytest.mark.parametrize("path", ["/things/1", "/things/1?a=b", "/things/a%20b", "/things/a/b"])
def test_a_proof_for_the_request_is_accepted_once(served: Served, nonce: str, path: str) -> None:
    made = proof(DEVICE, served.token, url=f"{PUBLIC_URL}{path.partition('?')[0]}", nonce=nonce)
    accepted = served.send_proof(made, path)
    assert (accepted.status_code, accepted.json()) == (200, {"key": thumbprint(DEVICE)})
    again = served.send_proof(made, path)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_dpop_proof")


def test_a_proof_for_another_request_is_refused(served: Served, nonce: str) -> None:
    for changes in ({"method": "POST"}, {"url": f"{PUBLIC_URL}/things/2"}, {"url": f"{served.origin}/things/1"}):
        refused = served.send(nonce=nonce, **changes)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_dpop_proof")


def test_bearer_tokens_are_accepted_as_before_and_bound_ones_are_not(served: Served) -> None:
    def status(authorization: str) -> int:
        headers = {"Authorization": authorization}
        return requests.get(f"{served.origin}/things/1", headers=headers, timeout=30).status_code

    assert [status(bearer(served.key_server)), status(f"Bearer {served.token}")] == [200, 401]


def test_it_needs_the_public_address(key_server: KeyServer) -> None:
    verifier = make_verifier(key_server)
    with pytest.raises(ValueError, match="dpop needs resource_url"):
        BearerToken(verifier, Requirement(), dpop=DPoP())
    with pytest.raises(ValueError, match="dpop needs resource_url"):
        BearerAuth(verifier, dpop=DPoP())
