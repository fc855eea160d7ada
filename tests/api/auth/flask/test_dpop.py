"""DPoP in a Flask application: what a proof is compared with, what routes require, what answers have."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.test import TestResponse

from api.auth import (
    Auth,
    AuthConfig,
    ConfigError,
    TokenVerifier,
    TrustedIssuer,
    current_token,
    open_to_all,
    require_auth,
    requirements_of,
)
from api.auth.dpop import DPoP
from api.auth.dpop.nonces import NONCE_SECONDS
from api.auth.flask.extension import path_as_sent
from api.auth.keys.fetch import Fetched
from tests.api.auth.answers import parse_challenges
from tests.kit.headers import header_of
from tests.kit.proofs import proof, thumbprint
from tests.kit.signing import AUDIENCE, ISSUER, claims, ec_key, jwks, rsa_key

KEY, DEVICE = rsa_key(0), ec_key()
PUBLIC_URL = "https://api.example/below"
NOW = 1_800_000_000.0
SECRET = b"s" * 32


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


AppOf = Callable[..., Flask]


@pytest.fixture
def app_of(clock: Clock) -> AppOf:
    """Return a function that makes an application, from arguments of `DPoP`."""
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}keys")
    verifier = TokenVerifier(
        AuthConfig(issuers=(issuer,)), fetch=lambda _url, _timeout_seconds: Fetched(jwks(KEY), None), now=clock
    )

    def app_of(**arguments: Any) -> Flask:
        app = Flask("someone's")
        app.url_map.merge_slashes = False
        auth = Auth(verifier, realm="r", resource_url=PUBLIC_URL, metadata=True, dpop=DPoP(now=clock, **arguments))
        auth.init_app(app)

        @app.route("/things", methods=["GET", "POST"])
        @require_auth("read:devices")
        def things() -> str:
            return current_token.key_thumbprint or "unbound"

        @app.get("/things/<path:name>")
        @require_auth()
        def thing(name: str) -> dict[str, str]:
            return {"name": name}

        @app.get("/vault")
        @require_auth(dpop="required")
        def vault() -> str:
            return "open"

        @app.get("/health")
        @open_to_all
        def health() -> str:
            return "ok"

        class Views(MethodView):
            init_every_request = False
            decorators: ClassVar = [require_auth(dpop="required")]

            def get(self) -> str:
                return "view"

        app.add_url_rule("/class", view_func=Views.as_view("class"))
        blueprint = require_auth(dpop="required")(Blueprint("all", __name__, url_prefix="/all"))
        blueprint.add_url_rule("/one", "one", lambda: "one")
        app.register_blueprint(blueprint)
        return app

    return app_of


@pytest.fixture
def client(app_of: AppOf) -> FlaskClient:
    return app_of().test_client()


def token(**changes: Any) -> str:
    return KEY.sign(claims(NOW, **{"cnf": {"jkt": thumbprint(DEVICE)}, "exp": NOW + 1e6, **changes}))


def call(
    client: FlaskClient,
    path: str,
    *,
    method: str = "GET",
    htu: str | None = None,
    scheme: str = "DPoP",
    bound: bool = True,
    now: float = NOW,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> TestResponse:
    sent = token() if bound else token(cnf=None)
    url = f"{PUBLIC_URL}{path}" if htu is None else htu
    headers = {
        "Authorization": f"{scheme} {sent}",
        "DPoP": proof(DEVICE, sent, url=url, method=method, now=now, **changes),
    }
    return client.open(path, method=method, headers=headers, **(options or {}))


# --- What a proof is compared with ------------------------------------------------------------------------------------


def test_the_view_knows_the_key(client: FlaskClient) -> None:
    assert call(client, "/things").text == thumbprint(DEVICE)
    assert call(client, "/things", scheme="Bearer", bound=False).text == "unbound"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_method_is_that_of_the_request(client: FlaskClient, method: str) -> None:
    assert call(client, "/things", method=method).status_code == 200
    assert call(client, "/things", method=method, htm="PUT").status_code == 401


def test_the_address_is_the_public_one(client: FlaskClient) -> None:
    assert call(client, "/things", htu="http://localhost/things").status_code == 401
    # Whoever relays a request chooses its Host.
    options = {"base_url": "https://evil.example"}
    assert call(client, "/things", htu="https://evil.example/things", options=options).status_code == 401
    assert call(client, "/things", options=options).status_code == 200


@pytest.mark.parametrize(
    ("path", "htu", "status"),
    [
        ("/things/a%2Fb", "/things/a%2Fb", 200),
        ("/things/a%2Fb", "/things/a%2fb", 200),
        ("/things/a%2Fb", "/things/a/b", 401),
        ("/things/a/b", "/things/a%2Fb", 401),
        ("/things/%C3%A4", "/things/%c3%a4", 200),
        ("/things/a%3Ab", "/things/a%3Ab", 200),
        ("/things/a%20b?c=d", "/things/a%20b", 200),
        ("/things/a?c=/../b", "/things/a", 200),
    ],
)
def test_the_path_is_compared_as_it_was_sent(client: FlaskClient, path: str, htu: str, status: int) -> None:
    assert call(client, path, htu=f"{PUBLIC_URL}{htu}").status_code == status


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"RAW_URI": "/a%2Fb?c", "PATH_INFO": "/a/b"}, "/a%2Fb"),
        ({"REQUEST_URI": "/a%2Fb", "PATH_INFO": "/a/b"}, "/a%2Fb"),
        ({"RAW_URI": "http://host/a%2Fb?c", "PATH_INFO": "/a/b"}, "/a%2Fb"),
        ({"RAW_URI": "/root/a%2Fb", "SCRIPT_NAME": "/root", "PATH_INFO": "/a/b"}, "/a%2Fb"),
        ({"RAW_URI": "/a%2Fb", "SCRIPT_NAME": "/root", "PATH_INFO": "/a/b"}, "/a/b"),
        ({"RAW_URI": "/rooted", "SCRIPT_NAME": "/root", "PATH_INFO": "/x"}, "/x"),
        ({"RAW_URI": "/root%20x/a", "SCRIPT_NAME": "/root x", "PATH_INFO": "/a"}, "/a"),
        ({"RAW_URI": "/a%2Fb#c?d", "PATH_INFO": "/a/b"}, "/a%2Fb"),
        ({"RAW_URI": "*", "PATH_INFO": "*"}, "*"),
        ({"PATH_INFO": "/a b/\xc3\xa4:@"}, "/a%20b/%C3%A4:@"),
        ({}, ""),
    ],
)
def test_where_the_path_comes_from(environ: dict[str, Any], path: str) -> None:
    assert path_as_sent(environ) == path


def test_two_headers_are_two_proofs(client: FlaskClient) -> None:
    sent = token()
    made = [proof(DEVICE, sent, url=f"{PUBLIC_URL}/things", now=NOW) for _ in range(2)]
    headers = [("Authorization", f"DPoP {sent}"), *(("DPoP", one) for one in made)]
    answer = client.get("/things", headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_dpop_proof")


# --- What routes require ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/vault", "/class", "/all/one"])
def test_a_route_may_require_it(client: FlaskClient, path: str) -> None:
    assert call(client, path).status_code == 200
    for answer, error in (
        (call(client, path, scheme="Bearer", bound=False), "invalid_token"),
        (call(client, path, scheme="Bearer"), "invalid_token"),
        (client.get(path), None),
    ):
        assert answer.status_code == 401
        ((scheme, parameters),) = parse_challenges(header_of(answer, "WWW-Authenticate"))
        assert (scheme, parameters.get("error")) == ("DPoP", error)


def test_the_application_may_require_it(app_of: AppOf) -> None:
    client = app_of(required=True).test_client()
    assert call(client, "/things").status_code == 200
    assert client.get("/health").status_code == 200
    for answer in (call(client, "/things", scheme="Bearer", bound=False), client.get("/things")):
        assert answer.status_code == 401
        assert [scheme for scheme, _ in parse_challenges(header_of(answer, "WWW-Authenticate"))] == ["DPoP"]


def test_what_is_required_can_be_read_back(app_of: AppOf) -> None:
    app = app_of()
    assert [one.dpop for one in requirements_of(app, "vault", "GET")] == ["required"]
    assert "bound to a key by DPoP" in app.test_cli_runner().invoke(args=["auth", "routes"]).output


def test_a_route_that_requires_it_where_it_is_not_accepted_is_a_mistake() -> None:
    app = Flask("someone's")
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,))
    Auth(TokenVerifier(AuthConfig(issuers=(issuer,)))).init_app(app)
    app.testing = True
    app.add_url_rule("/vault", "vault", require_auth(dpop="required")(lambda: "open"))
    with pytest.raises(RuntimeError, match="needs Auth"):
        app.test_client().get("/vault")


def test_a_wrong_argument_fails_at_import() -> None:
    wrong: Any = True
    with pytest.raises(ValueError, match="dpop is"):
        require_auth(dpop=wrong)


def test_without_the_public_address_there_is_no_dpop() -> None:
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,))
    with pytest.raises(ConfigError, match="dpop needs resource_url"):
        Auth(TokenVerifier(AuthConfig(issuers=(issuer,))), dpop=DPoP())


# --- What answers have ------------------------------------------------------------------------------------------------


def test_the_metadata_tell_of_it(app_of: AppOf) -> None:
    for required in (True, False):
        client = app_of(required=required, algorithms=("ES256", "EdDSA")).test_client()
        metadata = client.get("/.well-known/oauth-protected-resource").get_json()
        assert metadata["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA"]
        assert metadata["dpop_bound_access_tokens_required"] is required


def test_a_client_learns_the_nonce_from_a_refusal_and_the_next_one_from_an_answer(app_of: AppOf, clock: Clock) -> None:
    client = app_of(nonce_secret=SECRET).test_client()
    refused = call(client, "/things")
    assert (refused.status_code, refused.get_json()["error"]) == (401, "use_dpop_nonce")
    nonce = header_of(refused, "DPoP-Nonce")
    assert header_of(client.get("/things"), "DPoP-Nonce") == nonce
    accepted = call(client, "/things", nonce=nonce)
    assert (accepted.status_code, accepted.headers.get("DPoP-Nonce")) == (200, None)
    clock.seconds += NONCE_SECONDS
    answers = [call(client, path, nonce=nonce, now=clock.seconds) for path in ("/things", "/things/x", "/all/one")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    (newer,) = {header_of(answer, "DPoP-Nonce") for answer in answers}
    assert newer != nonce
    # No cache may hand it out again (RFC 9449 §8.2).
    assert {header_of(answer, "Cache-Control") for answer in answers} == {"no-store"}
    accepted = call(client, "/things", nonce=newer, now=clock.seconds)
    assert (accepted.status_code, accepted.headers.get("DPoP-Nonce")) == (200, None)
    clock.seconds += NONCE_SECONDS
    assert call(client, "/things", nonce=nonce, now=clock.seconds).status_code == 401
