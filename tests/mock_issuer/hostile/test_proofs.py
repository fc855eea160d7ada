"""The rows with DPoP proofs: what they are, and that each finds the API that does not check what it is about."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
from flask import Flask, Response, abort, request
from joserfc.jwk import import_key, thumbprint
from jwt.utils import base64url_decode

from mock_issuer import Config, Server
from mock_issuer.flow.keys import SigningKeys
from mock_issuer.hostile.check import main
from mock_issuer.hostile.check.sender import send_all
from mock_issuer.hostile.proofs import GOOD_PROOF, ProofFactory, proof_requests
from mock_issuer.hostile.request import ACCEPTED, HostileRequest, bearer, from_json, to_json
from mock_issuer.hostile.table import hostile_requests
from mock_issuer.hostile.tokens import TokenFactory
from mock_issuer.hostile.verdict import find_mistake
from tests.kit.proofs import ath
from tests.kit.signing import AUDIENCE, ISSUER
from tests.mock_issuer.hostile.servers import SCOPE, serving

URL = "https://api.example/v1/devices"
# By name, which the tests below take in any order.
KINDS = {
    "how many": ["dpop-no-proof", "dpop-two-proofs", "dpop-two-proofs-in-one-header"],
    "header": ["dpop-header-list", "dpop-header-string"],
    "typ": ["dpop-typ-jwt", "dpop-typ-missing"],
    "alg": ["dpop-alg-none", "dpop-alg-hs256", "dpop-alg-hs256-with-the-public-key"],
    "jwk": ["dpop-jwk-private", "dpop-jwk-missing", "dpop-key-of-another", "dpop-signed-by-another"],
    "key size": ["dpop-small-rsa-key-padded"],
    "htm": ["dpop-htm-missing", "dpop-htm-post"],
    "htu": ["dpop-htu-missing", "dpop-htu-other-host"],
    "iat": ["dpop-iat-missing", "dpop-iat-a-day-ago", "dpop-iat-in-a-day",
            "dpop-iat-beyond-dates", "dpop-iat-beyond-64-bits", "dpop-iat-beyond-floats"],
    "ath": ["dpop-ath-missing", "dpop-ath-of-another-token"],
    "jti": ["dpop-jti-missing", "dpop-proof-replayed"],
    "scheme": ["dpop-token-as-bearer", "dpop-token-as-bearer-with-proof", "dpop-bearer-token"],
}  # fmt: skip
# What an API does not expect, and the rows that it answers with 500 then.
FAILURES = {
    "header": ["dpop-header-list", "dpop-header-string"],
    "key size": ["dpop-small-rsa-key-padded"],
    "iat as a date": ["dpop-iat-beyond-dates", "dpop-iat-beyond-64-bits", "dpop-iat-beyond-floats"],
    "iat in 64 bits": ["dpop-iat-beyond-64-bits", "dpop-iat-beyond-floats"],
    "iat as a float": ["dpop-iat-beyond-floats"],
}


def make_table(keys: SigningKeys, **dpop: Any) -> dict[str, HostileRequest]:
    requests = hostile_requests(keys, issuer=ISSUER, audience=AUDIENCE, scope=SCOPE, now=int(time.time()), **dpop)
    assert len({request.name for request in requests}) == len(requests)
    return {request.name: request for request in requests}


@pytest.fixture(scope="module")
def plain(keys: SigningKeys) -> dict[str, HostileRequest]:
    return make_table(keys)


@pytest.fixture(scope="module")
def table(keys: SigningKeys) -> dict[str, HostileRequest]:
    return make_table(keys, dpop_url=URL)


def test_they_come_after_the_others_and_only_if_asked_for(
    plain: dict[str, HostileRequest], table: dict[str, HostileRequest], keys: SigningKeys
) -> None:
    names = list(table)
    assert names[: len(plain)] == list(plain)
    added = names[len(plain) :]
    assert added[0] == GOOD_PROOF
    assert len(added) >= 60
    assert all(name.startswith("dpop-") and table[name].challenge == "DPoP" for name in added)
    assert all(request.challenge == "Bearer" and request.times == 1 for request in plain.values())
    with_nonce = list(make_table(keys, dpop_url=URL, dpop_nonce="n"))
    assert with_nonce == [*names, "dpop-nonce-missing", "dpop-nonce-wrong"]  # and names are stable
    assert {name for kind in KINDS.values() for name in kind} <= set(added)


def test_each_has_a_name_and_a_reason_with_its_rfc(table: dict[str, HostileRequest]) -> None:
    for row in table.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
        assert re.search(r"RFC \d{4} §\d", row.why), row.name
        assert len(row.why) <= 130, row.name
        assert row.accepted or row.refused or row.challenge == "Bearer", row.name


def test_they_survive_a_round_trip_through_json(table: dict[str, HostileRequest]) -> None:
    for row in table.values():
        assert from_json(json.loads(json.dumps(to_json(row)))) == row
    assert to_json(table["good-token"]).keys() == {"name", "headers", "query", "answers", "why", "level"}
    wrong = to_json(table[GOOD_PROOF]) | {"challenge": "Basic"}
    with pytest.raises(ValueError, match="not DPoP"):
        from_json(wrong)


def test_the_good_proof_is_one_that_rfc_9449_describes(keys: SigningKeys) -> None:
    row = make_table(keys, dpop_url=URL, dpop_nonce="n")[GOOD_PROOF]
    (_, authorization), (name, proof) = row.headers
    scheme, _, token = authorization.partition(" ")
    header = jwt.get_unverified_header(proof)
    claims = jwt.decode(proof, jwt.PyJWK(header["jwk"], algorithm="ES256"), algorithms=["ES256"])
    assert (scheme, name) == ("DPoP", "DPoP")
    assert header.keys() == {"typ", "alg", "jwk"}
    assert header["typ"] == "dpop+jwt"
    assert claims.keys() == {"jti", "htm", "htu", "iat", "ath", "nonce"}
    assert (claims["htm"], claims["htu"], claims["ath"], claims["nonce"]) == ("GET", URL, ath(token), "n")
    bound = jwt.decode(token, options={"verify_signature": False})
    assert bound["cnf"] == {"jkt": import_key(header["jwk"]).thumbprint()}


def proof_in(row: HostileRequest) -> str:
    return dict(row.headers)["DPoP"]


def read_segment(unverified_jwt: str, index: int) -> Any:
    return json.loads(base64url_decode(unverified_jwt.split(".")[index]))


def verify(unverified_proof: str, jwk: dict[str, Any], algorithm: str) -> None:
    """Raise InvalidSignatureError; unlike `jwt.decode`, take a header that is no object and a small key."""
    signing_input, _, signature = unverified_proof.rpartition(".")
    key = jwt.PyJWK(jwk, algorithm=algorithm)
    if not key.Algorithm.verify(signing_input.encode(), key.key, base64url_decode(signature)):
        raise jwt.InvalidSignatureError


def test_the_header_of_a_row_is_json_and_no_object(table: dict[str, HostileRequest]) -> None:
    jwk = read_segment(proof_in(table[GOOD_PROOF]), 0)["jwk"]
    for name, kind in (("list", list), ("string", str)):
        sent = proof_in(table[f"dpop-header-{name}"])
        header = read_segment(sent, 0)
        assert isinstance(header, kind)
        assert all(parameter in header for parameter in ("typ", "alg", "jwk"))
        verify(sent, jwk, "ES256")


def test_each_huge_iat_is_beyond_one_type_more(table: dict[str, HostileRequest]) -> None:
    date, bits, number = (
        read_segment(proof_in(table[f"dpop-iat-beyond-{name}"]), 1)["iat"] for name in ("dates", "64-bits", "floats")
    )
    assert all(type(iat) is int for iat in (date, bits, number))
    assert struct.pack("q", date)
    with pytest.raises(OverflowError):
        timedelta(seconds=date)
    assert float(bits)
    with pytest.raises(struct.error):
        struct.pack("q", bits)
    with pytest.raises(OverflowError):
        float(number)


def test_the_padded_key_is_wrong_in_its_size_alone(table: dict[str, HostileRequest]) -> None:
    row = table["dpop-small-rsa-key-padded"]
    header = read_segment(proof_in(row), 0)
    modulus = base64url_decode(header["jwk"]["n"])
    assert (len(modulus) * 8, int.from_bytes(modulus).bit_length()) == (2048, 1024)
    verify(proof_in(row), header["jwk"], "RS256")
    token = dict(row.headers)["Authorization"].removeprefix("DPoP ")
    assert read_segment(token, 1)["cnf"] == {"jkt": thumbprint(header["jwk"])}
    assert read_segment(proof_in(row), 1)["ath"] == ath(token)


BOTH = ['Bearer, DPoP error="invalid_dpop_proof", algs="ES256"']


@pytest.mark.parametrize(
    ("name", "status", "challenges", "mistake"),
    [
        (GOOD_PROOF, 200, [], None),
        (GOOD_PROOF, 401, BOTH, "refuses MUST 401 invalid_dpop_proof"),
        ("dpop-htm-post", 401, BOTH, None),
        ("dpop-htm-post", 401, ["Bearer", 'DPoP error="invalid_token"'], None),
        ("dpop-htm-post", 401, ['Bearer error="invalid_token", DPoP algs="ES256"'], None),
        ("dpop-htm-post", 401, ['Bearer error="invalid_token"'], None),
        ("dpop-htm-post", 401, ['DPoP algs="ES256"'], "differs SHOULD 401 without error"),
        ("dpop-htm-post", 401, ["Basic realm=x"], "differs MUST 401 without a DPoP challenge"),
        ("dpop-htm-post", 401, ["Bearer error=a error=b"], "differs MUST 401 with an unreadable challenge"),
        ("dpop-htm-post", 400, ['DPoP error="invalid_dpop_proof"'], "differs SHOULD 400 invalid_dpop_proof"),
        ("dpop-htm-post", 200, [], "accepts MUST 200"),
        ("dpop-htm-post", 500, [], "crashes SHOULD 500"),
        ("dpop-no-proof", 401, ["DPoP"], None),
        ("dpop-two-proofs", 400, [], None),
        ("dpop-two-proofs", 400, ['DPoP error="invalid_request"'], None),
        ("dpop-proof-replayed", 200, [], "differs SHOULD 200"),
        ("dpop-token-as-bearer", 401, ['Bearer error="invalid_token"'], None),
        ("dpop-token-as-bearer", 200, [], "accepts MUST 200"),
    ],
)
def test_answers_are_judged(
    table: dict[str, HostileRequest], name: str, status: int, challenges: list[str], mistake: str | None
) -> None:
    found = find_mistake(table[name], status, challenges, fetched=False)
    assert (found and f"{found.severity} {found.level} {found.received}") == mistake


@dataclass
class DPoPApi:
    """An API on PyJWT that checks proofs.

    Args:
        leaves_out: the kinds of checks that it does not do.
        fails_on: what it does not expect: it answers 500. It then catches no errors but PyJWT's and its own.
    """

    issuer: Server
    leaves_out: frozenset[str] = frozenset()
    fails_on: frozenset[str] = frozenset()
    nonce: str = ""
    used: set[str] = field(default_factory=set)

    def app(self) -> Flask:
        app = Flask("dpop")
        self.keys = jwt.PyJWKClient(f"{self.issuer.url}.well-known/jwks.json")
        app.add_url_rule("/", view_func=self._view)
        return app

    def _view(self) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = jwt.decode(
                token,
                self.keys.get_signing_key_from_jwt(token),
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=self.issuer.url,
            )
            if claims.get("cnf") is None and scheme.lower() == "bearer":
                return self._answer(200)
            if scheme.lower() == "bearer" and "scheme" not in self.leaves_out:
                return self._answer(401, "invalid_token")
            self._check_proof(token, claims)
        except jwt.PyJWTError:
            return self._answer(401, "invalid_dpop_proof")
        except (ValueError, KeyError, TypeError, AttributeError):
            if self.fails_on:
                raise
            return self._answer(401, "invalid_dpop_proof")
        return self._answer(200)

    def _check(self, kind: str, *, good: bool) -> None:
        if not good and kind not in self.leaves_out:
            raise jwt.InvalidTokenError(kind)

    def _check_proof(self, token: str, claims: dict[str, Any]) -> None:
        sent = request.headers.get("DPoP", "")
        if not sent and self.leaves_out & {"how many", "scheme"}:
            return
        self._check("how many", good=sent.count(".") == 2)
        sent = sent.split(",")[0]
        header = self._read_header(sent)
        jwk = header.get("jwk", {})
        self._check_key(jwk)
        is_verified = not self.leaves_out & {"alg", "jwk", "header"}
        if is_verified and not ("typ" in self.leaves_out and header.get("typ") == "at+jwt"):
            verify(sent, jwk, header["alg"])
        bound_to = (claims.get("cnf") or {}).get("jkt")
        if "scheme" not in self.leaves_out or bound_to:
            self._check("jwk", good=bound_to == (thumbprint(jwk) if jwk.get("kty") in {"EC", "RSA"} else bound_to))
            self._check("scheme", good=bool(bound_to))
        self._check_claims(read_segment(sent, 1), token)

    def _read_header(self, sent: str) -> dict[str, Any]:
        header = read_segment(sent, 0)
        if "header" not in self.fails_on:
            self._check("header", good=isinstance(header, dict))
        if "header" in self.leaves_out and not isinstance(header, dict):
            return {"typ": "dpop+jwt", "alg": "ES256", "jwk": {"kty": "oct"}}
        self._check("typ", good=header.get("typ") == "dpop+jwt" and "crit" not in header)
        self._check("alg", good=header["alg"] in {"ES256", "RS256"})
        return dict(header)

    def _check_key(self, jwk: dict[str, Any]) -> None:
        self._check("jwk", good=isinstance(jwk, dict) and jwk.get("kty") in {"EC", "RSA", "oct"} and "d" not in jwk)
        if jwk.get("kty") != "RSA":
            return
        # Without the check of the size, the length of the text counts.
        if len(base64url_decode(jwk["n"])) * 8 < 2048:
            raise jwt.InvalidKeyError
        bits = jwt.PyJWK(jwk, algorithm="RS256").key.key_size
        if bits < 2048 and "key size" in self.fails_on:
            raise AssertionError
        self._check("key size", good=bits >= 2048)

    def _check_claims(self, proof: dict[str, Any], token: str) -> None:
        self._check("htm", good=proof.get("htm") == "GET")
        self._check("htu", good=proof.get("htu") == request.base_url)
        issued_at, now = proof.get("iat", 0), time.time()
        if "iat as a date" in self.fails_on:
            datetime.fromtimestamp(issued_at, UTC)
        if "iat in 64 bits" in self.fails_on:
            struct.pack("q", issued_at)
        if "iat as a float" in self.fails_on:
            abs(now - issued_at)
        self._check("iat", good=isinstance(issued_at, int) and now - 60 < issued_at < now + 60)
        self._check("ath", good=proof.get("ath") == ath(token))
        self._check("jti", good=isinstance(proof.get("jti"), str) and proof["jti"] not in self.used)
        self.used.add(str(proof.get("jti")))
        if self.nonce and proof.get("nonce") != self.nonce:
            abort(self._answer(401, "use_dpop_nonce"))

    def _answer(self, status: int, error: str = "") -> Response:
        headers = {"WWW-Authenticate": f'Bearer, DPoP error="{error}", algs="ES256"'} if error else {}
        return Response(status=status, headers=headers | ({"DPoP-Nonce": self.nonce} if self.nonce else {}))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Server]:
    with Server(Config()) as server:
        yield server


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(issuer: Server, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that checks an API; it returns the exit status and the rows by name."""

    def run(api: DPoPApi, *options: str) -> tuple[int, dict[str, Any]]:
        with serving(api.app()) as url:
            status = main([f"{url}/", "--issuer", issuer.url, "--dpop", "--json", "-", "--only", "dpop-*", *options])
        out = capsys.readouterr().out
        return status, {row["name"]: row for row in json.loads(out)["requests"]}

    return run


@pytest.mark.parametrize("nonce", ["", "nonce-1"])
def test_an_api_that_checks_everything_passes(issuer: Server, run: Run, nonce: str) -> None:
    # The rows `dpop-scheme` and `dpop-proof` have no proof; any API is sent them.
    others = ("--skip", "dpop-scheme", "--skip", "dpop-proof")
    status, rows = run(DPoPApi(issuer, nonce=nonce), "--fail-on", "all", *others)
    assert {name: row for name, row in rows.items() if row["verdict"] != "right"} == {}
    assert status == 0
    assert ("dpop-nonce-wrong" in rows) is bool(nonce)
    assert len(rows) >= 60


def find_mistakes(api: DPoPApi) -> dict[str, str]:
    """Return the severity and level of each mistake, by the name of the row."""
    # Without the rest of the table, which takes 300 signatures.
    keys, now = api.issuer._issuer.keys, int(time.time())
    tokens = TokenFactory(keys=keys, issuer=api.issuer.url, audience=AUDIENCE, scope=SCOPE, now=now)
    good = bearer("good-token", ACCEPTED, "", tokens.token())
    found: dict[str, str] = {}
    with serving(api.app()) as url:
        rows = list(proof_requests(ProofFactory(tokens=tokens, url=f"{url}/")))
        exchanges = send_all(urlsplit(f"{url}/"), rows, good, wait_seconds=0)
    assert len(exchanges) == len(rows)
    for exchange in exchanges:
        assert exchange.response
        answer = exchange.response
        mistake = find_mistake(exchange.request, answer.status, answer.challenges, fetched=False)
        if mistake is not None:
            found[exchange.request.name] = f"{mistake.severity} {mistake.level}"
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_api_does_not_check_is_found(issuer: Server, kind: str) -> None:
    found = find_mistakes(DPoPApi(issuer, leaves_out=frozenset({kind})))
    expected = dict.fromkeys(KINDS[kind], "accepts MUST")
    if kind == "jti":
        expected["dpop-proof-replayed"] = "differs SHOULD"
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize("kind", FAILURES)
def test_what_an_api_fails_on_is_found(issuer: Server, kind: str) -> None:
    found = find_mistakes(DPoPApi(issuer, fails_on=frozenset({kind})))
    # It answers the good proof, and the rows that only others of these APIs fail on. What is no JWT, all fail on.
    tried = {GOOD_PROOF, *(name for names in FAILURES.values() for name in names)}
    expected = dict.fromkeys(FAILURES[kind], "crashes SHOULD")
    assert {name: mistake for name, mistake in found.items() if name in tried} == expected


def test_an_api_without_dpop_cannot_be_checked(issuer: Server, capsys: pytest.CaptureFixture[str]) -> None:
    app = Flask("plain")

    @app.get("/")
    def view() -> Response:
        is_bearer = request.headers.get("Authorization", "").startswith("Bearer ")
        return Response(status=200) if is_bearer else Response(status=401, headers={"WWW-Authenticate": "Bearer"})

    with serving(app) as url:
        assert main([url, "--issuer", issuer.url, "--dpop"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.startswith("Nothing was checked. The API does not accept a valid DPoP proof: it answered 401 without")
    assert "--dpop-url" in error


def test_the_proofs_name_the_address_of_the_option(issuer: Server, capsys: pytest.CaptureFixture[str]) -> None:
    seen: set[str] = set()
    app = Flask("behind a proxy")

    @app.get("/")
    def view() -> Response:
        if proof := request.headers.get("DPoP"):
            seen.add(jwt.decode(proof, options={"verify_signature": False})["htu"])
        return Response(status=200)

    with serving(app) as url:
        main([f"{url}/?a=b", "--issuer", issuer.url, "--dpop-url", "https://api.example?x#y", "--only", GOOD_PROOF])
        main([f"{url}/?a=b", "--issuer", issuer.url, "--dpop", "--only", GOOD_PROOF])
    assert seen == {"https://api.example/", f"{url}/"}
    assert "eyJ" not in capsys.readouterr().out


def test_a_replay_is_repeated_in_the_command_too(issuer: Server, run: Run) -> None:
    _, rows = run(DPoPApi(issuer), "--only", "dpop-proof-replayed")
    assert rows["dpop-proof-replayed"]["command"].count("curl ") == 2
    assert rows[GOOD_PROOF]["command"].count("curl ") == 1


def test_they_are_offered_over_http_as_well(issuer: Server) -> None:
    import requests

    query = urlencode({"dpop_url": URL, "dpop_nonce": "n"})
    rows = requests.get(f"{issuer.url}_mock/hostile?{query}", timeout=10).json()["requests"]
    names = [row["name"] for row in rows]
    assert names == [row.name for row in issuer.hostile(dpop_url=URL, dpop_nonce="n")]
    assert names[-1] == "dpop-nonce-wrong"
    digest = hashlib.sha256("".join(names).encode()).hexdigest()
    again = requests.get(f"{issuer.url}_mock/hostile?{query}", timeout=10).json()["requests"]
    assert hashlib.sha256("".join(row["name"] for row in again).encode()).hexdigest() == digest
