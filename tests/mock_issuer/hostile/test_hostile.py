"""The table of hostile requests, and how answers are compared with it. test_check.py sends it to APIs."""

import functools
import json
import re
import time
from base64 import urlsafe_b64decode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from mock_issuer.hostile.request import GOOD_TOKEN, HostileRequest, from_json, to_json
from mock_issuer.hostile.table import hostile_requests
from mock_issuer.hostile.verdict import Severity, describe_answers, find_challenges, find_failure, find_mistake
from tests.kit.signing import AUDIENCE, ISSUER, SigningKey, rsa_key

NOW = 1_800_000_000
SCOPE = "read:devices"
KEY = rsa_key(0, "key-1")


class Keys:
    """An issuer's keys, as the table needs them."""

    def __init__(self, published: tuple[SigningKey, ...]) -> None:
        self.kid = str(KEY.kid)
        self._published = published

    def sign_raw(self, signing_input: bytes) -> bytes:
        signature: bytes = KEY.private_key.sign(signing_input, PKCS1v15(), SHA256())
        return signature

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.jwk() for key in self._published]}


def make_table(scope: str = SCOPE, published: tuple[SigningKey, ...] = (KEY,)) -> dict[str, HostileRequest]:
    requests = hostile_requests(Keys(published), issuer=ISSUER, audience=AUDIENCE, scope=scope, now=NOW)
    assert requests[0].name == GOOD_TOKEN
    assert len({request.name for request in requests}) == len(requests)
    return {request.name: request for request in requests}


# A table takes 300 signatures.
table = functools.cache(make_table)


def token_of(request: HostileRequest) -> str:
    return request.headers[0][1].removeprefix("Bearer ")


@pytest.mark.parametrize("scope", [SCOPE, "", "read:devices write:devices", "A"])
def test_the_table_has_enough_requests_of_each_kind(scope: str) -> None:
    requests = table(scope).values()
    assert sum(request.refused for request in requests) >= 110
    assert sum(request.accepted for request in requests) >= 10
    assert not any(request.refused and request.accepted for request in requests)
    assert any((403, "insufficient_scope") in request.answers for request in requests) == bool(scope)


def test_every_row_has_a_name_and_a_reason_with_its_rfc() -> None:
    for request in table().values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", request.name)
        assert re.search(r"RFC \d{4} §\d", request.why), request.name
        assert len(request.why) <= 130
        assert request.answers
        assert len(set(request.answers)) == len(request.answers)


def test_names_are_stable_and_tokens_are_new() -> None:
    first, second = make_table(), make_table()
    assert list(first) == list(second)
    assert first[GOOD_TOKEN].headers != second[GOOD_TOKEN].headers


def test_requests_survive_a_round_trip_through_json() -> None:
    for request in table().values():
        assert from_json(json.loads(json.dumps(to_json(request)))) == request


def test_the_good_token_is_one_that_rfc_9068_describes() -> None:
    token = token_of(table()[GOOD_TOKEN])
    claims = jwt.decode(
        token, KEY.private_key.public_key(), algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    assert set(claims) == {"iss", "sub", "aud", "iat", "exp", "client_id", "jti", "scope"}
    assert (claims["exp"], claims["iat"], claims["scope"]) == (NOW + 3600, NOW, SCOPE)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}


def has_valid_signature(token: str) -> bool:
    signing_input, _, signature = token.rpartition(".")
    try:
        raw = urlsafe_b64decode(f"{signature}==")
        KEY.private_key.public_key().verify(raw, signing_input.encode(), PKCS1v15(), SHA256())
    except Exception:  # noqa: BLE001  # invalid, for any reason
        return False
    return True


@pytest.mark.parametrize(
    "prefix", ["iss-", "aud-", "exp-", "nbf-", "sub-", "scope-", "payload-l", "payload-u", "typ-", "crit-", "cnf-"]
)
def test_tokens_with_wrong_claims_have_a_valid_signature(prefix: str) -> None:
    rows = [request for name, request in table().items() if name.startswith(prefix)]
    assert rows
    assert all(has_valid_signature(token_of(request)) for request in rows)


@pytest.mark.parametrize("prefix", ["signature-", "attackers-", "hs256-", "es256-", "kid-sql", "alg-none-one"])
def test_tokens_of_the_attacker_have_an_invalid_signature(prefix: str) -> None:
    rows = [request for name, request in table().items() if name.startswith(prefix)]
    assert rows
    assert not any(has_valid_signature(token_of(request)) for request in rows)


@pytest.mark.parametrize("name", ["attackers-jwk", "attackers-jku-data-url", "attackers-x5c"])
def test_attacks_succeed_against_a_verifier_that_trusts_the_header(name: str) -> None:
    token = token_of(table()[name])
    header = jwt.get_unverified_header(token)
    key = table_key(header)
    jwt.decode(
        token, key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False, "verify_aud": False}
    )


def table_key(header: dict[str, Any]) -> Any:
    from base64 import b64decode
    from urllib.parse import unquote

    from cryptography.x509 import load_der_x509_certificate

    if "x5c" in header:
        return load_der_x509_certificate(b64decode(header["x5c"][0])).public_key()
    if "jku" in header:
        return jwt.PyJWKSet.from_json(unquote(header["jku"].partition(",")[2])).keys[0]
    return jwt.PyJWK(header["jwk"])


def test_the_public_key_is_tried_as_a_secret_only_if_it_is_published() -> None:
    assert "hs256-with-pem" in table()
    assert "hs256-with-pem" not in table(published=())
    assert "hs256-with-pem" not in table(published=(rsa_key(1, "key-2"),))


def test_tokens_are_valid_from_the_time_in_the_argument() -> None:
    keys = Keys((KEY,))
    now = int(time.time())
    requests = hostile_requests(keys, issuer=ISSUER, audience=AUDIENCE, scope="", now=now)
    jwt.decode(token_of(requests[0]), KEY.private_key.public_key(), algorithms=["RS256"], audience=AUDIENCE)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        (["Bearer"], [{}]),
        (['Bearer realm="api", error="invalid_token"'], [{"realm": "api", "error": "invalid_token"}]),
        (['bearer REALM=api , Error = "x"'], [{"realm": "api", "error": "x"}]),
        (['Bearer realm="a, Bearer error=\\"x\\""'], [{"realm": 'a, Bearer error="x"'}]),
        (['Basic realm="b", Bearer realm="a", error="x"'], [{"realm": "a", "error": "x"}]),
        (["Negotiate YWJj==, Bearer", "Basic realm=b"], [{}]),
        (["Bearer", "Bearer error=x"], [{}, {"error": "x"}]),
        ([", Bearer,, error=x,"], [{"error": "x"}]),
        (["Basic realm=x"], []),
        (['realm="api"'], None),
        (['Bearer realm="api'], None),
        (['Bearer realm="a" error="x"'], None),
        (["Bearer error=x, error=y"], None),
        (['Bearer error="é\x00"'], None),
        (["Bearer error=invalid token"], None),
    ],
)
def test_challenges_are_parsed_by_rfc_9110(values: list[str], found: list[dict[str, str]] | None) -> None:
    assert find_challenges(values, "bearer") == found


INVALID = ['Bearer error="invalid_token"']


@pytest.mark.parametrize(
    ("name", "status", "challenges", "mistake"),
    [
        (GOOD_TOKEN, 204, [], None),
        (GOOD_TOKEN, 302, [], "refuses MUST 302"),
        (GOOD_TOKEN, 500, [], "crashes MUST 500"),
        (GOOD_TOKEN, 401, INVALID, "refuses MUST 401 invalid_token"),
        ("no-credentials", 401, ["Bearer"], None),
        ("no-credentials", 401, ['Basic realm="x", Bearer realm="x"'], None),
        ("no-credentials", 401, [], "differs MUST 401 without a challenge"),
        ("no-credentials", 401, ["Basic realm=x"], "differs MUST 401 without a Bearer challenge"),
        ("no-credentials", 401, INVALID, "differs SHOULD 401 invalid_token"),
        ("no-credentials", 403, [], "differs MUST 403 without a challenge"),
        ("no-credentials", 302, [], "differs MUST 302"),
        ("no-credentials", 200, [], "accepts MUST 200"),
        ("alg-none", 401, INVALID, None),
        ("alg-none", 401, ["Bearer", *INVALID], "differs SHOULD 401 with 2 Bearer challenges"),
        ("alg-none", 401, ["Bearer"], "differs SHOULD 401 without error"),
        ("alg-none", 401, ["Bearer error=eyJhbGciOiJub25lIn0"], "differs SHOULD 401 with another error"),
        ("alg-none", 401, ['Bearer error="'], "differs MUST 401 with an unreadable challenge"),
        ("alg-none", 400, ["Bearer error=invalid_token"], "differs SHOULD 400 invalid_token"),
        ("alg-none", 200, [], "accepts MUST 200"),
        ("alg-none", 503, [], "crashes SHOULD 503"),
        ("bearer-alone", 400, ["Bearer error=invalid_request"], None),
        ("bearer-alone", 400, [], "differs MUST 400 without a challenge"),
        ("many-dots", 431, [], None),
        ("many-dots", 400, [], None),
        ("scope-missing", 403, ['Bearer error="insufficient_scope", scope="x"'], None),
        ("scope-missing", 403, [], "differs MUST 403 without a challenge"),
        ("scope-missing", 401, INVALID, "differs SHOULD 401 invalid_token"),
        ("cnf-jkt", 200, [], None),
        ("cnf-jkt", 401, INVALID, None),
        # No RFC forbids these; RFC 6750 §3.1 recommends status 400 for those that are malformed.
        ("token-in-query", 200, [], None),
        ("token-in-query", 401, ["Bearer"], None),
        ("token-in-query-and-basic", 200, [], None),
        ("expired-token-in-query", 401, INVALID, None),
        ("expired-token-in-query", 200, [], "accepts MUST 200"),
        ("two-headers-good-and-bad", 200, [], "differs SHOULD 200"),
        ("two-headers-good-and-bad", 400, ["Bearer error=invalid_request"], None),
        ("word-after-token", 200, [], "differs SHOULD 200"),
        ("scope-list", 200, [], None),
        ("scope-list", 403, ["Bearer error=insufficient_scope"], None),
        ("sub-empty", 200, [], None),
        ("sub-empty", 401, INVALID, None),
        ("sub-null", 200, [], "accepts MUST 200"),
        ("exp-40-minutes-ago", 200, [], "accepts MUST 200"),
        ("issued-in-40-minutes", 200, [], "accepts MUST 200"),
    ],
)
def test_answers_are_judged_by_status_and_challenge(
    name: str, status: int, challenges: list[str], mistake: str | None
) -> None:
    found = find_mistake(table()[name], status, challenges, fetched=False)
    assert (found and f"{found.severity} {found.level} {found.received}") == mistake
    assert found is None or re.fullmatch(r"RFC \d{4} §\d+(\.\d+)*", found.section)


@pytest.mark.parametrize(
    ("status", "challenges", "level", "received", "section"),
    [
        (200, [], "MUST", "200 after a fetch", "RFC 9068 §4"),
        (401, INVALID, "SHOULD", "401 invalid_token after a fetch", "RFC 8725 §3.10"),
        (401, [], "SHOULD", "401 without a challenge after a fetch", "RFC 8725 §3.10"),
        (500, [], "SHOULD", "500 after a fetch", "RFC 8725 §3.10"),
    ],
)
def test_a_fetch_is_a_mistake_whatever_the_answer(
    status: int, challenges: list[str], level: str, received: str, section: str
) -> None:
    found = find_mistake(table()["alg-none"], status, challenges, fetched=True)
    assert found is not None
    assert (found.severity, found.level, found.received) == (Severity.ACCEPTS, level, received)
    assert found.section == section


def test_no_answer_is_a_crash() -> None:
    found = find_failure(table()["alg-none"], "no answer (timed out)", fetched=False)
    assert (found.severity, found.received) == (Severity.CRASHES, "no answer (timed out)")
    found = find_failure(table()["alg-none"], "no answer (timed out)", fetched=True)
    assert (found.severity, found.received) == (Severity.ACCEPTS, "no answer (timed out) after a fetch")


def test_unknown_claims_have_no_name_that_grants() -> None:
    payload = token_of(table()["unknown-claims"]).split(".")[1]
    claims = json.loads(urlsafe_b64decode(f"{payload}=="))
    assert not {"roles", "permissions", "scp", "groups", "entitlements"} & claims.keys()


def test_acceptable_answers_are_described() -> None:
    rows = table()
    assert describe_answers(rows["no-credentials"]) == "401 without error"
    assert describe_answers(rows["typ-jwt"]) == "401 invalid_token or 2xx"
