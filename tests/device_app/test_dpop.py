"""`device login --dpop`: the key, its proofs at the issuer and the API, their nonces, and what is shown of it."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from joserfc.jwk import import_key

from device_app.storage.token_file import TokenStore
from mock_issuer import Config, Server
from tests.device_app.conftest import START, scripted_server
from tests.device_app.model.test_proof_key import read
from tests.kit.proofs import ath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.device_app.conftest import FakeTime, Received, Run, ScriptedServer

NO_DEVICES: tuple[int, dict[str, Any]] = (200, {"items": [], "next_cursor": None})


@pytest.fixture(params=[False, True], ids=["without nonces", "with nonces"])
def issuer(time: FakeTime, request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(Config(dpop_nonces=request.param), clock=time.clock.now) as issuer:
        issuer.script(outcome="approve")
        yield issuer


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        scripted.on("GET /v1/devices", NO_DEVICES)
        yield scripted


def log_in(run: Run, issuer: Server) -> None:
    result = run("login", "--dpop", "--issuer", issuer.url)
    assert (result.exit_code, result.stderr) == (0, ""), result.output


def stored(token_file: Path) -> Any:
    return json.loads(token_file.read_text())


def claims_of(access_token: str) -> dict[str, Any]:
    return jwt.decode(access_token, options={"verify_signature": False})


def proof_of(request: Received) -> tuple[dict[str, Any], dict[str, Any]]:
    return read(request.headers["DPoP"])


def test_the_tokens_are_bound_to_the_stored_key(run: Run, issuer: Server, token_file: Path) -> None:
    log_in(run, issuer)
    record = stored(token_file)
    thumbprint = import_key({"kty": "EC", "crv": "P-256"} | record["proof_key"]).thumbprint()
    assert claims_of(record["access_token"])["cnf"] == {"jkt": thumbprint}
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600

    status = run("status", "--issuer", issuer.url)
    assert f"Bound to:  the key {thumbprint}, stored with the tokens\n" in status.stdout
    as_json = json.loads(run("status", "--json", "--issuer", issuer.url).stdout)
    assert as_json["key_thumbprint"] == thumbprint
    assert record["proof_key"]["d"] not in status.output + json.dumps(as_json)

    token = run("token", "--issuer", issuer.url)
    assert token.stdout.strip() == record["access_token"]
    assert token.stderr == "This token is bound to a key: no API accepts it without a proof by that key.\n"


def test_a_refresh_proves_the_same_key(run: Run, issuer: Server, token_file: Path, time: FakeTime) -> None:
    log_in(run, issuer)
    first = stored(token_file)
    time.elapsed += 86_400  # nonces have expired as well
    run("token", "--issuer", issuer.url)
    second = stored(token_file)
    assert second["access_token"] != first["access_token"]
    assert second["proof_key"] == first["proof_key"]
    assert claims_of(second["access_token"])["cnf"] == claims_of(first["access_token"])["cnf"]
    assert run("logout", "--issuer", issuer.url).output == "Logged out.\n"
    assert "srrt" in [event.type for event in issuer.events]
    assert not token_file.exists()


def test_a_new_login_makes_a_new_key_and_one_without_the_option_none(
    run: Run, issuer: Server, token_file: Path
) -> None:
    log_in(run, issuer)
    first = stored(token_file)["proof_key"]
    log_in(run, issuer)
    assert stored(token_file)["proof_key"] != first
    assert run("login", "--issuer", issuer.url).exit_code == 0
    assert stored(token_file)["proof_key"] is None
    assert "Bound to" not in run("status", "--issuer", issuer.url).stdout
    assert "key_thumbprint" not in json.loads(run("status", "--json", "--issuer", issuer.url).stdout)
    assert run("token", "--issuer", issuer.url).stderr == ""


def test_each_request_to_the_api_has_its_proof(run: Run, issuer: Server, api: ScriptedServer, token_file: Path) -> None:
    api.on("POST /v1/devices", (201, {"id": "1"}))
    log_in(run, issuer)
    options = ("--issuer", issuer.url, "--api", api.address)
    assert run("devices", *options).exit_code == 0
    assert run("add", "TV", "--kind", "television", "--model", "L", *options).exit_code == 0
    access_token, key = stored(token_file)["access_token"], stored(token_file)["proof_key"]
    for request in api.received:
        assert request.headers["Authorization"] == f"DPoP {access_token}"
        header, claims = proof_of(request)
        assert header["jwk"]["x"] == key["x"]
        assert claims["htm"] == request.method
        assert claims["htu"] == f"{api.address}/v1/devices"  # without ?limit=
        assert claims["ath"] == ath(access_token)
        assert claims["iat"] >= START
        assert "nonce" not in claims
    assert len({proof_of(request)[1]["jti"] for request in api.received}) == 2


def test_a_request_that_is_sent_again_has_a_new_proof(
    run: Run, issuer: Server, api: ScriptedServer, time: FakeTime
) -> None:
    api.on("POST /v1/devices", (0, None), (503, {}, {"Retry-After": "3"}), (201, {"id": "1"}))
    log_in(run, issuer)
    add = ("add", "TV", "--kind", "television", "--model", "L", "--issuer", issuer.url, "--api", api.address)
    assert run(*add).exit_code == 0
    proofs = [proof_of(request)[1] for request in api.received]
    assert len({proof["jti"] for proof in proofs}) == len(proofs) == 3
    assert proofs[-1]["iat"] - proofs[0]["iat"] == int(sum(time.slept[-2:]))


NONCE_NEEDED = {"WWW-Authenticate": 'Bearer, DPoP error="use_dpop_nonce", algs="ES256"', "DPoP-Nonce": "nonce-1"}


def test_a_nonce_of_the_api_is_used_and_replaced(run: Run, issuer: Server, api: ScriptedServer) -> None:
    log_in(run, issuer)
    page = {"items": [], "next_cursor": "more"}
    api.on("GET /v1/devices", (401, {}, NONCE_NEEDED), (200, page, {"DPoP-Nonce": "nonce-2"}), NO_DEVICES)
    result = run("devices", "--issuer", issuer.url, "--api", api.address)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [proof_of(request)[1].get("nonce") for request in api.received] == [None, "nonce-1", "nonce-2"]


@pytest.mark.parametrize(
    ("headers", "requests"),
    [
        (NONCE_NEEDED, 2),  # it asks again and again
        (NONCE_NEEDED | {"DPoP-Nonce": 'a "quoted" one'}, 1),
        ({"WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}, 1),
    ],
)
def test_a_nonce_is_asked_for_once(
    run: Run, issuer: Server, api: ScriptedServer, headers: dict[str, str], requests: int
) -> None:
    log_in(run, issuer)
    api.on("GET /v1/devices", (401, {}, headers))
    result = run("devices", "--issuer", issuer.url, "--api", api.address)
    assert result.exit_code == 3
    assert len(api.received) == 2 * requests  # and after a refresh once more


def test_a_refused_proof_is_explained_and_needs_no_refresh(run: Run, issuer: Server, api: ScriptedServer) -> None:
    log_in(run, issuer)
    challenge = {"WWW-Authenticate": 'DPoP error="invalid_dpop_proof", algs="ES256"'}
    api.on("GET /v1/devices", (401, {}, challenge))
    result = run("devices", "--issuer", issuer.url, "--api", api.address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Is its clock right" in result.stderr
    assert len(api.received) == 1


def test_what_else_an_api_says_of_a_bound_token_is_understood(run: Run, issuer: Server, api: ScriptedServer) -> None:
    log_in(run, issuer)
    challenge = {"WWW-Authenticate": 'Bearer, DPoP error="insufficient_scope", scope="write:devices"'}
    api.on("GET /v1/devices", (403, {}, challenge))
    result = run("devices", "--issuer", issuer.url, "--api", api.address)
    assert result.exit_code == 3
    assert "This login lacks the scope write:devices." in result.stderr
    assert result.stderr.rstrip().endswith("--dpop")  # the login that is proposed binds its tokens, too


def test_an_issuer_without_dpop_is_noticed_before_the_user_is_asked(server: ScriptedServer, run: Run) -> None:
    for algorithms in (None, [], ["RS256"], "ES256", [["ES256"]]):
        server.announce(dpop_signing_alg_values_supported=algorithms)
        result = run("login", "--dpop")
        assert result.exit_code == 1
        assert result.stderr == (f"The issuer {server.issuer} does not bind tokens to a key: log in without --dpop.\n")
    assert server.to("/device") == []


def test_a_bearer_token_is_no_answer_to_a_proof(server: ScriptedServer, run: Run, token_file: Path) -> None:
    server.announce(dpop_signing_alg_values_supported=["RS256", "ES256"])
    server.offer_code()
    server.on("POST /token", (200, {"access_token": "access-secret-1", "token_type": "Bearer", "expires_in": 60}))
    result = run("login", "--dpop")
    assert result.exit_code == 1
    assert "The issuer sent a token of another type than DPoP.\n" in result.stderr
    assert not token_file.exists()


def test_a_bound_token_is_no_answer_to_a_request_without_a_proof(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    server.on("POST /token", (200, {"access_token": "access-secret-1", "token_type": "DPoP", "expires_in": 60}))
    result = run("login")
    assert "The issuer sent a token of another type than Bearer.\n" in result.stderr
    assert all("DPoP" not in request.headers for request in server.received)


def test_a_clock_that_is_wrong_is_suspected(server: ScriptedServer, run: Run) -> None:
    server.announce(dpop_signing_alg_values_supported=["ES256"])
    server.offer_code()
    server.on("POST /token", (400, {"error": "invalid_dpop_proof", "error_description": "iat"}))
    result = run("login", "--dpop")
    assert (
        "The issuer refused the request for tokens (invalid_dpop_proof: iat). Is this machine's clock right?\n"
        in result.stderr
    )


def test_a_refused_refresh_suspects_the_clock_too(
    server: ScriptedServer, run: Run, token_file: Path, time: FakeTime
) -> None:
    server.announce(dpop_signing_alg_values_supported=["ES256"])
    server.offer_code()
    granted = {"access_token": "access-secret-1", "token_type": "dpop", "expires_in": 60, "refresh_token": "r-secret"}
    server.on("POST /token", (200, granted), (400, {"error": "invalid_dpop_proof"}))
    assert run("login", "--dpop").exit_code == 0
    time.elapsed += 60
    result = run("token")
    assert result.exit_code == 1
    assert result.stderr.endswith("(invalid_dpop_proof). Is this machine's clock right?\n")
    assert token_file.exists()


def test_without_metadata_the_answer_decides(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    server.on("POST /token", (200, {"access_token": "access-secret-1", "token_type": "DPoP", "expires_in": 60}))
    endpoints = ("--device-authorization-endpoint", f"{server.address}/device")
    result = run("login", "--dpop", *endpoints, "--token-endpoint", f"{server.address}/token")
    assert result.exit_code == 0
    assert [proof_of(request)[1]["htu"] for request in server.received] == [
        f"{server.address}/device",
        f"{server.address}/token",
    ]


@pytest.mark.parametrize("key", [5, {}, {"x": "x", "y": "y", "d": "d"}, {"kty": "EC"}])
def test_a_damaged_key_is_a_damaged_login(run: Run, logged_in: Path, key: Any) -> None:
    record = stored(logged_in)
    logged_in.write_text(json.dumps(record | {"proof_key": key}))
    result = run("status")
    assert result.exit_code == 3
    assert "is damaged. Run: device login" in result.stderr


def test_a_login_of_an_older_version_still_works(run: Run, logged_in: Path, time: FakeTime) -> None:
    record = stored(logged_in)
    del record["proof_key"], record["request"]["dpop"]
    logged_in.write_text(json.dumps(record))
    assert run("status").exit_code == 0
    assert TokenStore(logged_in, time.clock).load().proof_key is None
