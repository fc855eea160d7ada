from collections.abc import Callable
from typing import Any, cast

import pytest
from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from flask import Flask
from flask.testing import FlaskClient

from adapters.authlib_validator import VerifyingValidator, answer_refusals
from api.auth import AccessToken, AuthConfig, TokenVerifier, TrustedIssuer
from api.auth.keys.fetch import Fetched, FetchError
from tests.kit.headers import header_of
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEY = rsa_key(0)
Fetch = Callable[[str, float], Fetched]


def make_client(fetch: Fetch) -> FlaskClient:
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}jwks", subject_required=False)
    require_oauth = ResourceProtector()
    verifier = TokenVerifier(AuthConfig(issuers=(issuer,)), fetch=fetch)
    require_oauth.register_token_validator(VerifyingValidator(verifier, realm="things"))
    app = Flask(__name__)
    answer_refusals(app, realm="things")

    @app.get("/any")
    @require_oauth()  # type: ignore[untyped-decorator]  # theirs
    def any_token() -> str:
        token: AccessToken = cast("AccessToken", current_token)
        return token.subject

    @app.get("/scoped")
    @require_oauth(["read:devices write:devices", "admin"])  # type: ignore[untyped-decorator]  # theirs
    def scoped() -> str:
        return "in"

    return app.test_client()


@pytest.fixture
def client() -> FlaskClient:
    return make_client(lambda _url, _seconds: Fetched(jwks(KEY), None))


def bearer(**changes: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY.sign(claims(**changes))}"}


def test_a_good_token_opens(client: FlaskClient) -> None:
    response = client.get("/any", headers=bearer())
    assert (response.status_code, response.text) == (200, "user-1")


def test_a_bad_token_is_answered_as_ours(client: FlaskClient) -> None:
    response = client.get("/any", headers=bearer(exp=1))
    assert response.status_code == 401
    assert response.headers.get("WWW-Authenticate") == (
        'Bearer realm="things", error="invalid_token", error_description="The access token has expired."'
    )
    assert response.get_json() == {"error": "invalid_token", "error_description": "The access token has expired."}


def test_a_token_without_the_subject_that_a_view_reads_is_refused(client: FlaskClient) -> None:
    response = client.get("/any", headers=bearer(sub=None))
    detail = "The access token lacks a claim that this API needs."
    assert response.status_code == 401
    assert response.headers.get("WWW-Authenticate") == (
        f'Bearer realm="things", error="invalid_token", error_description="{detail}"'
    )
    assert response.get_json() == {"error": "invalid_token", "error_description": detail}


@pytest.mark.parametrize(
    ("scope", "status"),
    [("read:devices", 403), ("write:devices read:devices", 200), ("admin", 200), ("", 403), ("administrator", 403)],
)
def test_one_entry_of_the_list_is_enough_and_needs_all_its_words(client: FlaskClient, scope: str, status: int) -> None:
    response = client.get("/scoped", headers=bearer(scope=scope))
    assert response.status_code == status
    if status == 403:
        assert 'scope="read:devices write:devices"' in header_of(response, "WWW-Authenticate")


@pytest.mark.parametrize("suffix", [" x", ",Bearer abc", "\u00e9"])
def test_what_authlib_would_let_pass_is_an_invalid_request(client: FlaskClient, suffix: str) -> None:
    response = client.get("/any", headers={"Authorization": bearer()["Authorization"] + suffix})
    assert response.status_code == 400
    assert response.get_json()["error"] == "invalid_request"


def test_a_second_token_in_the_query_is_an_invalid_request(client: FlaskClient) -> None:
    for query in ("access_token=x", "a=1&access%5Ftoken=x"):
        response = client.get(f"/any?{query}", headers=bearer())
        assert response.status_code == 400, query
        assert response.get_json()["error"] == "invalid_request"


def test_without_keys_the_answer_is_503() -> None:
    def fail(_url: str, _seconds: float) -> Fetched:
        raise FetchError("no answer")

    response = make_client(fail).get("/any", headers=bearer())
    assert response.status_code == 503
    assert "WWW-Authenticate" not in response.headers
    assert int(header_of(response, "Retry-After")) >= 1


def test_no_credentials_are_answered_by_authlib(client: FlaskClient) -> None:
    assert client.get("/any").status_code == 401
