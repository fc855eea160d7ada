"""Authorization codes at the token endpoint: what they are bound to, and what ends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from mock_issuer import Client, Config, User
from tests.kit.prover import Prover
from tests.mock_issuer.authorization.conftest import AUDIENCE, SCOPE, App, challenge_of

if TYPE_CHECKING:
    import requests

    from tests.mock_issuer.conftest import LiveIssuer

CODE_GRANT = frozenset({"authorization_code", "refresh_token"})
CLIENTS = (
    Client(client_id="web", secret="s3:c", application_type="web", grant_types=CODE_GRANT),
    Client(client_id="spa", application_type="web", grant_types=frozenset({"authorization_code"})),
)


@pytest.fixture
def web(make_issuer: Callable[[Config], LiveIssuer], callback_port: int) -> App:
    """A confidential client; another one, `spa`, is public and has the same redirect URI."""
    uris = frozenset({f"http://127.0.0.1:{callback_port}/callback"})
    clients = tuple(
        Client(
            client_id=client.client_id,
            secret=client.secret,
            application_type=client.application_type,
            grant_types=client.grant_types,
            redirect_uris=uris,
        )
        for client in CLIENTS
    )
    return App(make_issuer(Config(clients=clients)), callback_port, "web", client_secret="s3:c")


def is_live(app: App, tokens: dict[str, Any]) -> bool:
    """Return whether the access token works at /userinfo."""
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    return app.issuer.get("/userinfo", headers=header).status_code == 200


def test_a_code_is_exchanged_for_the_tokens_of_the_device_flow(app: App) -> None:
    device = app.issuer.linked(scope=SCOPE)
    code = app.code(nonce="a nonce")
    auth_time = app.issuer.clock.now
    app.issuer.clock.advance(59)
    response = app.exchange(code)
    tokens = response.json()
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    members = {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert tokens.keys() == device.keys() == members
    header, claims = app.issuer.verify(tokens["access_token"])
    device_header, device_claims = app.issuer.verify(device["access_token"])
    assert (header, claims.keys()) == (device_header, device_claims.keys())
    assert (claims["sub"], claims["scope"], claims["auth_time"]) == ("mock|alice", SCOPE, auth_time)
    id_claims = app.issuer.verify(tokens["id_token"], "device-app")[1]
    assert (id_claims["nonce"], id_claims["auth_time"], id_claims["sub"]) == ("a nonce", auth_time, "mock|alice")
    refreshed = app.issuer.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200
    # OpenID Connect Core §12.2.
    assert "nonce" not in app.issuer.verify(refreshed.json()["id_token"], "device-app")[1]


@pytest.mark.parametrize(
    ("scope", "extra"),
    [
        ("read:devices", set()),
        ("openid", {"id_token"}),
        ("read:devices offline_access", {"refresh_token"}),
    ],
)
def test_the_scopes_decide_which_tokens_come(app: App, scope: str, extra: set[str]) -> None:
    tokens = app.tokens(scope=scope)
    assert tokens.keys() - {"access_token", "token_type", "expires_in", "scope"} == extra
    assert "nonce" not in app.issuer.verify(tokens["access_token"])[1]


def test_without_a_nonce_in_the_request_the_id_token_has_none(app: App) -> None:
    assert "nonce" not in app.issuer.verify(app.tokens()["id_token"], "device-app")[1]


REFUSALS: list[tuple[dict[str, str], str]] = [
    ({"code": ""}, "invalid_request"),
    ({"redirect_uri": ""}, "invalid_request"),
    ({"code_verifier": ""}, "invalid_request"),
    ({"code": "unknown"}, "invalid_grant"),
    ({"redirect_uri": "http://127.0.0.1/callback"}, "invalid_grant"),  # the client's, but another port
    ({"redirect_uri": "https://attacker.example/"}, "invalid_grant"),
    ({"code_verifier": "x" * 43}, "invalid_grant"),
    ({"code_verifier": "x" * 42}, "invalid_grant"),
    ({"code_verifier": "x" * 129}, "invalid_grant"),
    ({"code_verifier": "é" * 43}, "invalid_grant"),
    ({"resource": "https://other.example"}, "invalid_target"),
]


@pytest.mark.parametrize(("changes", "error"), REFUSALS, ids=lambda value: str(value)[:50])
def test_a_wrong_exchange_is_refused_and_does_not_use_the_code(app: App, changes: dict[str, str], error: str) -> None:
    code = app.code()
    status = 403 if error == "invalid_grant" else 400
    assert app.issuer.refused(app.exchange(**{"code": code, **changes})) == (status, error)
    assert app.issuer.server.events[-1].type == "feacft"
    assert app.exchange(code).status_code == 200


@pytest.mark.parametrize(("length", "status"), [(42, 403), (43, 200), (128, 200), (129, 403)])
def test_a_verifier_has_43_to_128_characters_even_if_it_fits(app: App, length: int, status: int) -> None:
    app.verifier = "v" * length
    assert app.exchange(app.code()).status_code == status


def test_the_challenge_is_no_verifier(app: App) -> None:
    # As it would be with `plain`.
    assert app.issuer.refused(app.exchange(app.code(), code_verifier=challenge_of(app.verifier)))[1] == "invalid_grant"


def test_a_code_expires(app: App) -> None:
    code = app.code()
    app.issuer.clock.advance(60)
    assert app.issuer.refused(app.exchange(code)) == (403, "invalid_grant")


def test_the_lifetime_is_configured(make_issuer: Callable[[Config], LiveIssuer], callback_port: int) -> None:
    app = App(make_issuer(Config(authorization_code_seconds=5)), callback_port)
    code, late = app.code(), app.code()
    app.issuer.clock.advance(4)
    assert app.exchange(code).status_code == 200
    app.issuer.clock.advance(1)
    assert app.issuer.refused(app.exchange(late))[1] == "invalid_grant"


@pytest.mark.parametrize("after", [0, 59, 61, 3600])
def test_a_second_use_ends_the_tokens_of_the_first(app: App, after: int) -> None:
    code = app.code()
    first = app.exchange(code).json()
    refreshed = app.issuer.refresh(first["refresh_token"]).json()
    others = app.tokens()
    app.issuer.clock.advance(after)
    assert is_live(app, first)
    assert is_live(app, refreshed)
    assert app.issuer.refused(app.exchange(code)) == (403, "invalid_grant")
    assert not is_live(app, first)
    assert not is_live(app, refreshed)
    assert app.issuer.refused(app.issuer.refresh(refreshed["refresh_token"])) == (403, "invalid_grant")
    assert is_live(app, others)
    assert app.issuer.refresh(others["refresh_token"]).status_code == 200


def test_tokens_that_ended_are_inactive(web: App) -> None:
    code = web.code(scope="openid")
    tokens = web.exchange(code).json()

    def introspected() -> bool:
        form = web.credentials | {"token": tokens["access_token"]}
        return bool(web.issuer.post("/oauth/introspect", form).json()["active"])

    assert introspected()
    web.exchange(code)
    assert not introspected()


def test_whoever_has_only_the_code_cannot_end_its_tokens(app: App) -> None:
    code = app.code()
    tokens = app.exchange(code).json()
    assert app.issuer.refused(app.exchange(code, code_verifier="x" * 43))[1] == "invalid_grant"
    assert is_live(app, tokens)
    assert app.issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_of_eight_exchanges_at_once_one_succeeds_and_its_tokens_end(app: App) -> None:
    code = app.code()
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: app.exchange(code), range(8)))
    assert Counter(response.status_code for response in responses) == {200: 1, 403: 7}
    (tokens,) = (response.json() for response in responses if response.status_code == 200)
    assert not is_live(app, tokens)
    assert app.issuer.refused(app.issuer.refresh(tokens["refresh_token"]))[1] == "invalid_grant"


# Clients


def test_a_confidential_client_must_authenticate(web: App) -> None:
    code = web.code()
    for secret in ("", "wrong"):
        assert web.issuer.refused(web.exchange(code, client_secret=secret)) == (401, "invalid_client")
    assert web.exchange(code).status_code == 200


def test_a_confidential_client_may_authenticate_in_the_header(web: App) -> None:
    form = {
        "grant_type": "authorization_code",
        "code": web.code(),
        "redirect_uri": web.redirect_uri,
        "code_verifier": web.verifier,
    }
    assert web.issuer.post("/oauth/token", form, auth=("web", "s3%3Ac")).status_code == 200


def test_a_confidential_client_needs_pkce_too(web: App) -> None:
    assert "error=invalid_request" in web.first_answer(code_challenge="").headers["Location"]
    assert web.issuer.refused(web.exchange(web.code(), code_verifier="")) == (400, "invalid_request")


def test_a_code_is_its_clients(web: App) -> None:
    code = web.code()
    other = {"client_id": "spa", "client_secret": ""}
    assert web.issuer.refused(web.exchange(code, **other)) == (403, "invalid_grant")
    tokens = web.exchange(code).json()
    assert web.issuer.refused(web.exchange(code, **other)) == (403, "invalid_grant")
    assert is_live(web, tokens)


def test_without_the_refresh_grant_there_is_no_refresh_token(web: App) -> None:
    spa = App(web.issuer, int(web.redirect_uri.split(":")[2].split("/")[0]), "spa")
    assert "refresh_token" not in spa.tokens(scope=SCOPE)


def test_a_client_without_the_grant_cannot_exchange_codes(app: App) -> None:
    response = app.exchange("x", client_id="device-gateway", client_secret="public-test-secret")
    assert app.issuer.refused(response) == (400, "unauthorized_client")


def test_custom_claims_are_released(make_issuer: Callable[[Config], LiveIssuer], callback_port: int) -> None:
    team = "https://example.com/team"
    app = App(make_issuer(Config(users=(User(username="alice", claims={team: "blue"}),))), callback_port)
    tokens = app.tokens(scope=f"openid {team}")
    assert app.issuer.verify(tokens["access_token"])[1][team] == "blue"


def test_a_reset_forgets_codes(app: App) -> None:
    code = app.code()
    app.issuer.server.reset()
    assert app.issuer.refused(app.exchange(code)) == (403, "invalid_grant")


def test_an_app_is_linked_like_a_device(app: App) -> None:
    person = app.issuer.person()
    tokens = app.exchange(app.sign_in(person)["code"]).json()
    person.open("/account/devices")
    assert "Device App" in person.page.text
    person.send(0)
    assert app.issuer.refused(app.issuer.refresh(tokens["refresh_token"]))[1] == "invalid_grant"


def test_the_audience_may_be_left_out(app: App) -> None:
    tokens = app.tokens(audience="", scope="openid")
    assert app.issuer.verify(tokens["access_token"], app.issuer.url + "userinfo")[1]["aud"] != AUDIENCE


def test_the_key_of_the_request_is_that_of_the_exchange(app: App) -> None:
    prover = Prover()
    code = app.code(dpop_jkt=prover.thumbprint)
    assert app.issuer.refused(app.exchange(code)) == (400, "invalid_dpop_proof")
    form = app.credentials | {"grant_type": "authorization_code", "code": code, "redirect_uri": app.redirect_uri}
    form |= {"code_verifier": app.verifier}

    def exchange(prover: Prover) -> requests.Response:
        proof = prover.proof("POST", app.issuer.url + "oauth/token", now=app.issuer.clock.now)
        return app.issuer.post("/oauth/token", form, headers={"DPoP": proof})

    assert app.issuer.refused(exchange(Prover())) == (403, "invalid_grant")
    assert exchange(prover).json()["token_type"] == "DPoP"
