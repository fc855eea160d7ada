"""Opaque tokens before a real HTTP server that answers as an issuer's introspection endpoint does (RFC 7662)."""

import base64
import copy
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthEvents,
    ConfigError,
    InsufficientScope,
    IntrospectionUnavailable,
    InvalidToken,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
    introspection,
    issuers,
)
from api.auth.introspection import MAX_PATIENT, MAX_QUESTIONS, Introspection, Introspector
from tests.kit.key_server import Answer, KeyServer, document, raw_answer
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

KEY = rsa_key(0, "key-1")
SECRET = "secret of the api: %+/"
PATH = "/introspect"
NOW = 1_800_000_000.0
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"


class Clock:
    """Both clocks of a verifier."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Recorded(AuthEvents):
    """Records what happens, as words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def token_accepted(self, *, from_cache: bool) -> None:
        self.words.append("remembered" if from_cache else "accepted")

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.words.append(f"{reason.value} {claim}" if claim else reason.value)

    def introspection_failed(self, issuer: str, cause: str) -> None:
        self.words.append(cause)


class Issuer(KeyServer):
    """Serves keys, metadata and an introspection endpoint that knows `tokens`, and records the forms it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, dict[str, Any]] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.authorizations: list[str | None] = []

    def open(self, *, has_metadata: bool = True) -> None:
        self.publish(jwks(KEY))
        metadata = {"issuer": self.issuer, "jwks_uri": self.jwks_url}
        if has_metadata:
            metadata["introspection_endpoint"] = self.endpoint
        self.answers["/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
        self.answers[PATH] = self.introspect

    @property
    def endpoint(self) -> str:
        return f"{self.origin}{PATH}"

    @property
    def questions(self) -> int:
        return self.requests[PATH]

    def introspect(self, handler: Any) -> None:
        form = parse_qs(handler.form.decode(), strict_parsing=True)
        self.forms.append(form)
        self.authorizations.append(handler.headers["Authorization"])
        known = self.tokens.get(form["token"][0])
        answer = {"active": False} if known is None else {"active": True, **known}
        document(json.dumps(answer).encode())(handler)

    def answer(self, answer: Any) -> None:
        """Answer every question so."""
        self.answers[PATH] = document(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def hang(self) -> threading.Semaphore:
        """Leave questions unanswered until `released`; return a semaphore that each one releases."""
        asked = threading.Semaphore(0)

        def hang(handler: Any) -> None:
            asked.release()
            self.released.wait()
            self.introspect(handler)

        self.answers[PATH] = hang
        return asked


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.open()
        issuer.tokens[OPAQUE] = described(issuer)
        yield issuer


def described(issuer: KeyServer, **changes: Any) -> dict[str, Any]:
    """Return the members of an answer about a good token."""
    return claims(NOW, **{"iss": issuer.issuer, "token_type": "Bearer", **changes})


Make = Callable[..., TokenVerifier]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Recorded:
    return Recorded()


@pytest.fixture
def make(issuer: Issuer, clock: Clock, events: Recorded) -> Make:
    def make(
        *, cache_size: int = 100, rules: dict[str, Any] | None = None, is_revoked: Any = None, **changes: Any
    ) -> TokenVerifier:
        trusted = TrustedIssuer(identifier=issuer.issuer, audiences=(AUDIENCE,), **(rules or {}))
        return TokenVerifier(
            AuthConfig(issuers=(trusted,), token_cache_size=cache_size),
            introspection=Introspection(client_id="api", client_secret=SECRET, **changes),
            events=events,
            is_revoked=is_revoked,
            now=clock,
            monotonic=clock,
        )

    return make


@pytest.fixture
def verifier(make: Make) -> TokenVerifier:
    return make()


def refused(call: Callable[[], object]) -> tuple[Reason, str | None]:
    with pytest.raises(InvalidToken) as caught:
        call()
    return caught.value.reason, caught.value.claim


def unavailable(call: Callable[[], object]) -> IntrospectionUnavailable:
    with pytest.raises(IntrospectionUnavailable) as caught:
        call()
    return caught.value


# The question


@pytest.mark.parametrize("has_metadata", [True, False])
def test_an_opaque_token_is_what_the_issuer_says(issuer: Issuer, make: Make, *, has_metadata: bool) -> None:
    issuer.open(has_metadata=has_metadata)
    verifier = make(endpoint=None if has_metadata else issuer.endpoint)
    token = verifier.authenticate(f"Bearer {OPAQUE}", Requirement(scopes=("read:devices",)))
    assert isinstance(token, AccessToken)
    assert (token.issuer, token.subject, token.client_id) == (issuer.issuer, "user-1", "device-app")
    assert token.scopes == {"read:devices", "read:readings"}
    assert token.claims == described(issuer)
    assert token.expires_at == NOW + 3600
    assert issuer.forms == [{"token": [OPAQUE], "token_type_hint": ["access_token"]}]
    # RFC 6749 §2.3.1: both are form-encoded, and then Base64.
    assert issuer.authorizations == [f"Basic {base64.b64encode(b'api:secret+of+the+api%3A+%25%2B%2F').decode()}"]
    # No keys were needed.
    assert issuer.key_requests == 0


def test_a_jwt_is_not_asked_about(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert verifier.verify(KEY.sign(claims(NOW, iss=issuer.issuer))).subject == "user-1"
    header = b'{\n"alg":"RS256","typ":"at+jwt","kid":"key-1"}'
    spaced = KEY.sign_raw(header, json.dumps(claims(NOW, iss=issuer.issuer)).encode())
    assert verifier.verify(spaced).subject == "user-1"
    # One that is refused neither.
    assert refused(lambda: verifier.verify(KEY.sign(claims(NOW, iss="https://other.example/"))))[0] is Reason.ISSUER
    assert refused(lambda: verifier.verify("eyJ.a.b")) == (Reason.MALFORMED, None)
    assert issuer.questions == 0


@pytest.mark.parametrize("tokens", ["jwt", "all"])
def test_the_issuer_can_be_asked_about_its_jwts(issuer: Issuer, make: Make, tokens: str) -> None:
    verifier = make(tokens=tokens)
    mine = KEY.sign(claims(NOW, iss=issuer.issuer))
    assert refused(lambda: verifier.verify(mine)) == (Reason.INACTIVE, None)
    known = KEY.sign(claims(NOW, iss=issuer.issuer, jti="2"))
    issuer.tokens[known] = described(issuer)
    assert verifier.verify(known).subject == "user-1"
    assert issuer.questions == 2
    # Others' JWTs are none of its business; keys are not needed for its own.
    assert refused(lambda: verifier.verify(KEY.sign(claims(NOW, iss="https://other.example/")))) == (
        Reason.ISSUER,
        "iss",
    )
    assert refused(lambda: verifier.verify("eyJhIjoxfQ.bm90IGpzb24.c2ln")) == (Reason.MALFORMED, None)
    assert (issuer.questions, issuer.key_requests) == (2, 0)


def test_opaque_tokens_are_refused_where_only_jwts_are_asked_about(issuer: Issuer, make: Make) -> None:
    assert refused(lambda: make(tokens="jwt").verify(OPAQUE)) == (Reason.MALFORMED, None)
    assert issuer.questions == 0


@pytest.mark.parametrize("token", ["", " ", "a b", "a,b", "é", "\udc80", "a\0", "=", 'a"b', "a" * 8_001])
@pytest.mark.parametrize("cache_size", [0, 100])
def test_what_has_not_the_form_of_a_token_is_not_asked_about(
    issuer: Issuer, make: Make, token: str, cache_size: int
) -> None:
    reason, _ = refused(lambda: make(cache_size=cache_size).verify(token))
    assert reason is (Reason.TOO_LONG if len(token) > 8_000 else Reason.MALFORMED)
    assert issuer.questions == 0


def test_a_token_of_8000_characters_arrives(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.tokens["a" * 7_998 + "=="] = described(issuer)
    assert verifier.verify("a" * 7_998 + "==").subject == "user-1"


@given(token=st.from_regex(r"[A-Za-z0-9\-._~+/]{1,40}={0,2}", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_every_token_that_a_header_can_hold_is_either_opaque_or_a_jwt(token: str) -> None:
    config = AuthConfig(issuers=(TrustedIssuer(identifier="https://a.example/", audiences=("a",)),))
    asked = Introspection(client_id="api", client_secret="s").start(
        config, events=AuthEvents(), fetch=lambda *_: pytest.fail("fetched"), now=Clock(), monotonic=Clock()
    )
    assert asked.takes(token) is not (token.startswith(("ey", "ew")) and token.count(".") == 2)


# The answer

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = ("active", "token_type", "typ", "token_use", "iss", "aud", "exp", "scope", "client_id", "cnf", "nonce", "x")


@given(changes=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_answer_is_a_token_or_a_refusal_or_malformed(changes: dict[str, Any]) -> None:
    config = AuthConfig(issuers=(TrustedIssuer(identifier="https://a.example/", audiences=("a",)),))
    asked = Introspection(client_id="api", client_secret="s").start(
        config, events=AuthEvents(), fetch=lambda *_: pytest.fail("fetched"), now=Clock(), monotonic=Clock()
    )
    answer = {"active": True, "token_type": "Bearer", "aud": "a", "sub": "b", **changes}
    try:
        found = asked._read(json.dumps(answer).encode(), NOW)
    except ValueError:  # `active` is no boolean, or a number is none
        return
    if isinstance(found, AccessToken):
        assert answer["active"] is True
        assert answer.get("iss", found.issuer) == found.issuer


@pytest.mark.parametrize(
    ("changes", "reason", "claim"),
    [
        ({"iss": "https://other.example/"}, Reason.ISSUER, "iss"),
        ({"iss": None, "token_type": None}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": None}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": "refresh_token"}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": "N_A"}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": ["Bearer"]}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": "DPoP"}, Reason.CLAIM_MISSING, "cnf"),
        ({"token_type": None, "typ": "DPoP"}, Reason.CLAIM_MISSING, "cnf"),
        ({"token_type": None, "typ": "DPoP", "cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"token_type": None, "typ": ["Bearer"]}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": None, "token_use": {"access": 1}}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_use": "refresh_token"}, Reason.TOKEN_TYPE, "token_use"),
        ({"token_use": "id"}, Reason.TOKEN_TYPE, "token_use"),
        ({"typ": "Refresh"}, Reason.TOKEN_TYPE, "typ"),
        ({"typ": "ID"}, Reason.TOKEN_TYPE, "typ"),
        ({"nonce": "n"}, Reason.TOKEN_TYPE, "nonce"),
        ({"at_hash": "h"}, Reason.TOKEN_TYPE, "at_hash"),
        ({"aud": None}, Reason.CLAIM_MISSING, "aud"),
        ({"aud": "https://other-api.example"}, Reason.AUDIENCE, "aud"),
        ({"aud": 7}, Reason.CLAIM_MALFORMED, "aud"),
        ({"sub": None}, Reason.CLAIM_MISSING, "sub"),
        ({"exp": NOW - 30}, Reason.EXPIRED, "exp"),
        ({"exp": "never"}, Reason.CLAIM_MALFORMED, "exp"),
        ({"nbf": NOW + 31}, Reason.NOT_YET_VALID, "nbf"),
        ({"iat": NOW + 31}, Reason.NOT_YET_VALID, "iat"),
        ({"scope": ["read:devices"]}, Reason.CLAIM_MALFORMED, "scope"),
        ({"client_id": 7}, Reason.CLAIM_MALFORMED, "client_id"),
        ({"cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"cnf": {"x5t#S256": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"cnf": {"kid": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"token_type": "DPoP", "cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
    ],
)
def test_an_active_token_is_refused_by_the_same_rules_as_a_jwt(
    issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any], reason: Reason, claim: str
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, **changes)
    for _ in range(2):
        assert refused(lambda: verifier.verify(OPAQUE)) == (reason, claim)
    # What has expired is not remembered.
    assert issuer.questions == (2 if reason is Reason.EXPIRED else 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"exp": None},
        {"token_type": "bearer"},
        {"token_type": "access_token", "token_use": "access_token"},
        {"token_type": None, "typ": "Bearer", "nonce": "n"},
        {"token_type": None, "token_use": "access_token"},
        {"token_type": None, "token_use": "access"},
        {"aud": ["a", AUDIENCE]},
        {"username": "ada", "extension": {"a": [{"b": {"c": {}}}]}},
    ],
)
def test_an_access_token_is_accepted_however_the_answer_calls_it(
    issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, **changes)
    assert verifier.verify(OPAQUE).subject == "user-1"
    assert "active" not in verifier.verify(OPAQUE).claims


def test_an_issuer_that_names_no_token_type_can_be_trusted_all_the_same(issuer: Issuer, make: Make) -> None:
    issuer.tokens[OPAQUE] = described(issuer, token_type=None)
    assert make(token_type_required=False).verify(OPAQUE).subject == "user-1"
    issuer.tokens["refresh"] = described(issuer, token_type="refresh_token")
    assert refused(lambda: make(token_type_required=False).verify("refresh")) == (Reason.TOKEN_TYPE, "token_type")


def test_the_rules_of_the_issuer_hold(issuer: Issuer, make: Make) -> None:
    rules = {"scope_claims": ("scp",), "client_id_claims": ("cid",), "required_claims": {"kind": "access"}}
    verifier = make(rules={**rules, "subject_required": False})
    assert refused(lambda: verifier.verify(OPAQUE)) == (Reason.CLAIM_MISSING, "kind")
    issuer.tokens["b"] = described(issuer, kind="access", scp="a b", cid="tv", sub=None)
    token = verifier.verify("b")
    assert token.scopes == {"a", "b"}
    assert (token.client_id, token.subject_or_none) == ("tv", None)


def test_requirements_and_revocations_hold(issuer: Issuer, make: Make, events: Recorded) -> None:
    revoked: list[str | None] = []
    verifier = make(is_revoked=lambda token: token.token_id in revoked)
    with pytest.raises(InsufficientScope):
        verifier.verify(OPAQUE, Requirement(scopes=("admin",)))
    assert verifier.verify(OPAQUE, Requirement(claims={"client_id": "device-app"})).subject == "user-1"
    revoked.append("token-1")
    assert refused(lambda: verifier.verify(OPAQUE)) == (Reason.REVOKED, None)
    assert events.words == ["scope", "remembered", "revoked"]
    assert issuer.questions == 1


def test_without_a_time_a_token_is_valid_until_it_is_asked_about_again(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, exp=None)
    assert verifier.verify(OPAQUE).expires_at == NOW + 30
    clock.seconds += 30
    assert verifier.verify(OPAQUE).expires_at == NOW + 60
    assert issuer.questions == 2


# Memory


def test_an_answer_is_remembered_for_30_seconds(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock, events: Recorded
) -> None:
    verifier.verify(OPAQUE)
    clock.seconds += 29.9
    verifier.verify(OPAQUE)
    assert issuer.questions == 1
    del issuer.tokens[OPAQUE]
    clock.seconds += 0.1
    assert refused(lambda: verifier.verify(OPAQUE)) == (Reason.INACTIVE, None)
    assert events.words == ["accepted", "remembered", "inactive"]


def test_an_answer_is_not_remembered_past_the_end_of_the_token(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, exp=NOW + 10)
    verifier.verify(OPAQUE)
    clock.seconds += 9.9
    verifier.verify(OPAQUE)
    assert issuer.questions == 1
    clock.seconds += 0.1
    verifier.verify(OPAQUE)  # by the leeway; and the issuer still says so
    assert issuer.questions == 2


def test_a_refusal_is_remembered_for_5_seconds(issuer: Issuer, verifier: TokenVerifier, clock: Clock) -> None:
    for _ in range(2):
        assert refused(lambda: verifier.verify("unknown")) == (Reason.INACTIVE, None)
    assert issuer.questions == 1
    issuer.tokens["unknown"] = described(issuer)
    clock.seconds += 4.9
    assert refused(lambda: verifier.verify("unknown")) == (Reason.INACTIVE, None)
    clock.seconds += 0.1
    assert verifier.verify("unknown").subject == "user-1"
    del issuer.tokens["unknown"]
    clock.seconds += 30
    assert refused(lambda: verifier.verify("unknown")) == (Reason.INACTIVE, None)
    assert refused(lambda: verifier.verify("unknown")) == (Reason.INACTIVE, None)
    assert issuer.questions == 3


def test_garbage_evicts_no_good_answer(issuer: Issuer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "_MAX_REFUSED", 5)
    verifier = make(cache_size=2)
    verifier.verify(OPAQUE)
    for garbage in (f"garbage-{number}" for number in range(20)):
        assert refused(partial(verifier.verify, garbage)) == (Reason.INACTIVE, None)
    questions = issuer.questions
    verifier.verify(OPAQUE)
    assert refused(lambda: verifier.verify("garbage-19")) == (Reason.INACTIVE, None)
    assert issuer.questions == questions
    assert refused(lambda: verifier.verify("garbage-0")) == (Reason.INACTIVE, None)
    assert issuer.questions == questions + 1


def test_the_memory_of_good_answers_is_bounded(issuer: Issuer, make: Make) -> None:
    verifier = make(cache_size=2)
    for name in ("a", "b", "c", "a"):
        issuer.tokens[name] = described(issuer)
        verifier.verify(name)
    assert issuer.questions == 4


def test_without_a_cache_the_issuer_is_asked_each_time(issuer: Issuer, make: Make, events: Recorded) -> None:
    verifier = make(cache_size=0)
    verifier.verify(OPAQUE)
    verifier.verify(OPAQUE)
    verifier.verify(KEY.sign(claims(NOW, iss=issuer.issuer)))
    assert issuer.questions == 2
    assert events.words == ["accepted"] * 3


def test_the_memory_holds_no_usable_token(issuer: Issuer, verifier: TokenVerifier) -> None:
    verifier.verify(OPAQUE)
    (asked,) = verifier._introspectors
    assert isinstance(asked, Introspector)
    assert [len(key) for key in asked._accepted] == [32]
    assert OPAQUE not in repr([*asked._accepted.items()])


# Outages


def with_header(*header: str) -> Answer:
    return raw_answer("\r\n".join(["HTTP/1.1 200 OK", *header, "", "{}"]).encode())


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (document(b"{}", status=500), "the status is not 200"),
        (document(b"{}", status=503), "the status is not 200"),
        (
            document(b"{}", status=302, headers={"Location": "/.well-known/openid-configuration"}),
            "the status is not 200",
        ),
        (document(b'{"active":true}', status=400), "the status is not 200"),
        (document(b'{"active":true}', status=401), "the issuer refuses the credentials of this API"),
        (document(b'{"active":true}', status=403), "the issuer refuses the credentials of this API"),
        (document(b"<html>"), "the answer is malformed"),
        (document(b""), "the answer is malformed"),
        (document(b"[]"), "the answer is malformed"),
        (document(b"{}"), "the answer is malformed"),
        (document(b'{"active":"true"}'), "the answer is malformed"),
        (document(b'{"active":1}'), "the answer is malformed"),
        (document(b'{"active":null}'), "the answer is malformed"),
        (document(b'{"active":true,"active":true}'), "the answer is malformed"),
        (document(b'{"active":true,"token_type":"Bearer","x":1e999}'), "the answer is malformed"),
        (document(b'{"active":true}' + b" " * 262_144), "longer than 256 KiB"),
        (with_header("Content-Length: 9"), "cut off"),
        (raw_answer(b"nonsense\r\n\r\n"), "no answer"),
    ],
)
def test_an_outage_is_503_and_never_401(
    issuer: Issuer, verifier: TokenVerifier, events: Recorded, answer: Answer, cause: str
) -> None:
    issuer.answers[PATH] = answer
    error = unavailable(lambda: verifier.verify(OPAQUE))
    assert (error.status, error.retry_after_seconds) == (503, 1)
    assert error.challenge(realm="r") is None
    assert error.headers(realm="r") == {"Cache-Control": "no-store", "Retry-After": "1"}
    assert events.words == [cause, "introspection_unavailable"]


def test_what_is_remembered_is_valid_during_an_outage(issuer: Issuer, verifier: TokenVerifier, clock: Clock) -> None:
    verifier.verify(OPAQUE)
    issuer.answers[PATH] = document(b"{}", status=503)
    unavailable(lambda: verifier.verify("other"))
    assert verifier.verify(OPAQUE).subject == "user-1"
    clock.seconds += 30
    unavailable(lambda: verifier.verify(OPAQUE))


def test_an_issuer_that_fails_is_asked_again_after_a_while(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.answers[PATH] = document(b"{}", status=503)
    unavailable(lambda: verifier.verify(OPAQUE))
    for _ in range(3):
        unavailable(lambda: verifier.verify(OPAQUE))
    assert issuer.questions == 1
    waits = []
    for _ in range(8):
        waits.append(unavailable(lambda: verifier.verify(OPAQUE)).retry_after_seconds or 0)
        clock.seconds += waits[-1]
        unavailable(lambda: verifier.verify(OPAQUE))
    assert issuer.questions == 9
    assert waits[0] == 1
    assert 15 <= max(waits) <= 30
    clock.seconds += 30
    issuer.open()
    assert verifier.verify(OPAQUE).subject == "user-1"


@pytest.mark.parametrize(
    ("status", "is_outage"),
    [
        *[(status, True) for status in (401, 403, 429, 502, 503, 504)],
        *[(status, False) for status in (201, 400, 402, 404, 428, 430, 500, 501, 505)],
    ],
)
def test_a_status_that_says_nothing_of_the_token_is_an_outage(
    issuer: Issuer, verifier: TokenVerifier, status: int, *, is_outage: bool
) -> None:
    issuer.answers[PATH] = document(b'{"active":true}', status=status)
    unavailable(lambda: verifier.verify("one"))
    unavailable(lambda: verifier.verify("another"))
    assert issuer.questions == (1 if is_outage else 2)


def test_one_token_that_the_issuer_cannot_judge_keeps_no_other_out(issuer: Issuer, verifier: TokenVerifier) -> None:
    def answer(handler: Any) -> None:
        (document(b"{}", status=500) if b"poison" in handler.form else issuer.introspect)(handler)

    issuer.answers[PATH] = answer
    for _ in range(3):
        unavailable(lambda: verifier.verify("poison"))
    assert verifier.verify(OPAQUE).subject == "user-1"


def test_an_endpoint_that_moved_is_looked_up_again(issuer: Issuer, verifier: TokenVerifier, clock: Clock) -> None:
    verifier.verify(OPAQUE)
    issuer.answers["/moved"] = issuer.answers.pop(PATH)
    metadata = {"issuer": issuer.issuer, "introspection_endpoint": f"{issuer.origin}/moved"}
    issuer.answers["/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
    clock.seconds += 30
    unavailable(lambda: verifier.verify(OPAQUE))
    assert verifier.verify(OPAQUE).subject == "user-1"
    clock.seconds += 600
    verifier.verify(OPAQUE)
    assert issuer.requests["/.well-known/openid-configuration"] == 3


def test_without_an_endpoint_in_the_metadata_nothing_is_asked(
    issuer: Issuer, verifier: TokenVerifier, events: Recorded
) -> None:
    issuer.open(has_metadata=False)
    unavailable(lambda: verifier.verify(OPAQUE))
    assert events.words[0] == "discovery: the metadata has no https introspection_endpoint"
    assert issuer.questions == 0


# Many requests


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (introspection.ANSWER_SECONDS, introspection.PATIENCE_SECONDS) == (3, 0.5)
    assert (MAX_QUESTIONS, MAX_PATIENT, introspection._MAX_REFUSED) == (4, 4, 1_000)


def test_requests_with_the_same_token_ask_once(issuer: Issuer, verifier: TokenVerifier) -> None:
    asked = issuer.hang()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(verifier.verify, OPAQUE) for _ in range(8)]
        assert asked.acquire(timeout=10)
        issuer.released.set()
        assert {future.result(timeout=10).subject for future in futures} == {"user-1"}
    assert issuer.questions == 1


def test_an_issuer_that_hangs_occupies_four_requests_at_most(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "PATIENCE_SECONDS", 0.05)
    asked = issuer.hang()
    with ThreadPoolExecutor(16) as pool:
        same = [pool.submit(verifier.verify, OPAQUE) for _ in range(6)]
        others = [pool.submit(verifier.verify, f"other-{number}") for number in range(10)]
        for _ in range(MAX_QUESTIONS):
            assert asked.acquire(timeout=10)
        # All but four are answered while the issuer hangs.
        deadline = time.monotonic() + 2
        while sum(not future.done() for future in (*same, *others)) > MAX_PATIENT:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # A JWT and what is remembered need nobody's answer.
        assert verifier.verify(KEY.sign(claims(NOW, iss=issuer.issuer))).subject == "user-1"
        refusals = [future.exception() for future in (*same, *others) if future.done()]
        assert {type(refusal) for refusal in refusals} == {IntrospectionUnavailable}
        issuer.released.set()
    assert issuer.questions == MAX_QUESTIONS
    # The places are free again.
    monkeypatch.undo()
    issuer.answers[PATH] = issuer.introspect
    assert verifier.verify(OPAQUE).subject == "user-1"


def test_while_the_issuer_is_known_to_fail_one_request_asks(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.answers[PATH] = document(b"{}", status=503)
    unavailable(lambda: verifier.verify(OPAQUE))
    clock.seconds += 1
    asked = issuer.hang()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(verifier.verify, OPAQUE)
        assert asked.acquire(timeout=10)
        started = time.monotonic()
        for number in range(3):
            unavailable(partial(verifier.verify, f"other-{number}"))
        assert time.monotonic() - started < 0.4  # nobody waited for a place
        issuer.released.set()
        assert future.result(timeout=10).subject == "user-1"
    # It answers again: everybody may ask.
    assert refused(lambda: verifier.verify("other")) == (Reason.INACTIVE, None)


def test_an_issuer_that_hangs_is_waited_for_3_seconds_at_most(
    issuer: Issuer, verifier: TokenVerifier, events: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(introspection, "PATIENCE_SECONDS", 0.1)
    issuer.hang()
    started = time.monotonic()
    unavailable(lambda: verifier.verify(OPAQUE))
    assert time.monotonic() - started < 2
    issuer.released.set()


def test_a_slow_issuer_is_waited_for_again_and_again(
    issuer: Issuer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "PATIENCE_SECONDS", 0)
    verifier = make(cache_size=0)
    for _ in range(MAX_PATIENT + 1):
        assert verifier.verify(OPAQUE).subject == "user-1"


def test_a_thread_that_cannot_be_started_is_an_outage(
    verifier: TokenVerifier, events: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    unavailable(lambda: verifier.verify(OPAQUE))
    assert events.words == ["no thread could be started", "introspection_unavailable"]


# Readiness


def test_it_is_ready_once_the_issuer_answers(issuer: Issuer, make: Make, clock: Clock) -> None:
    verifier = make(tokens="all")
    issuer.answers[PATH] = document(b"{}", status=401)
    assert verifier.readiness() == {issuer.issuer: False}
    issuer.answers[PATH] = issuer.introspect
    assert verifier.readiness() == {issuer.issuer: False}  # not asked again yet
    clock.seconds += 1
    assert verifier.readiness() == {issuer.issuer: True}
    questions = issuer.questions
    assert verifier.readiness() == {issuer.issuer: True}
    assert (issuer.questions, issuer.key_requests) == (questions, 0)
    # An outage that requests notice is told, and ends without requests.
    issuer.answers[PATH] = document(b"{}", status=503)
    unavailable(lambda: verifier.verify(OPAQUE))
    assert verifier.readiness() == {issuer.issuer: False}
    issuer.answers[PATH] = issuer.introspect
    clock.seconds += 1
    assert verifier.readiness() == {issuer.issuer: True}


def test_the_check_of_an_issuer_does_not_wait_and_is_not_repeated(issuer: Issuer, verifier: TokenVerifier) -> None:
    (asking,) = verifier._introspectors
    asked = issuer.hang()
    asking.start_check()
    assert asked.acquire(timeout=10)
    issuer.released.set()
    assert asking.is_ready()
    asking.start_check()
    assert asking.is_ready()
    assert [form["token"] for form in issuer.forms] == [["a-token-that-nobody-has"]]


def test_an_issuer_of_both_kinds_needs_both(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.break_keys(document(b"{}", status=500))
    assert verifier.readiness() == {issuer.issuer: False}


# Configuration


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"client_id": ""}, "client_id must be a non-empty string."),
        ({"client_id": 7}, "client_id must be a non-empty string."),
        ({"client_secret": None}, "client_secret must be a non-empty string."),
        ({"endpoint": "http://issuer.example/"}, "endpoint 'http://issuer.example/' must be an https URL"),
        ({"endpoint": f"https://api:{SECRET}@issuer.example/"}, "endpoint 'https://***@issuer.example/' must be"),
        ({"tokens": "none"}, "tokens must be one of opaque, jwt, all."),
        ({"token_type_required": 1}, "token_type_required must be True or False."),
    ],
)
def test_mistakes_are_told(changes: dict[str, Any], mistake: str) -> None:
    arguments: dict[str, Any] = {"client_id": "api", "client_secret": SECRET, **changes}
    with pytest.raises(ConfigError) as caught:
        Introspection(**arguments)
    (told,) = caught.value.mistakes
    assert told.startswith(mistake)
    assert SECRET not in told


def verifier_of(*several: Introspection) -> TokenVerifier:
    names = ("https://a.example/", "https://b.example/")
    return TokenVerifier(
        AuthConfig(issuers=tuple(TrustedIssuer(identifier=name, audiences=("a",)) for name in names)),
        introspection=several,
    )


def of(issuer: str | None, **changes: Any) -> Introspection:
    return Introspection(client_id="api", client_secret=SECRET, issuer=issuer, **changes)


def test_several_issuers_can_be_asked_but_one_alone_about_opaque_tokens() -> None:
    verifier = verifier_of(of("https://a.example/"), of("https://b.example/", tokens="jwt"))
    assert [one.identifier for one in verifier._introspectors] == ["https://a.example/", "https://b.example/"]
    for mistake, several in {
        "must be named, since several issuers are trusted": (of(None),),
        "must be one of the trusted issuers": (of("https://c.example/"),),
        "Only one issuer can be asked about opaque tokens": (of("https://a.example/"), of("https://b.example/")),
        "An issuer has several": (of("https://a.example/", tokens="jwt"), of("https://a.example/", tokens="jwt")),
    }.items():
        with pytest.raises(ConfigError, match=mistake):
            verifier_of(*several)


def test_the_secret_is_shown_nowhere(issuer: Issuer, verifier: TokenVerifier, events: Recorded) -> None:
    shown = [repr(one) for one in (of(None), verifier, *verifier._introspectors, vars(verifier))]
    issuer.answers[PATH] = document(b"{}", status=401)
    error: BaseException | None = unavailable(lambda: verifier.verify(OPAQUE))
    while error is not None:
        shown += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    shown += events.words
    for secret in (SECRET, "secret", base64.b64encode(b"api:secret").decode()[:12], OPAQUE):
        assert not any(secret in text.replace("client_secret", "") for text in shown)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_verifier_can_be_copied_and_pickled(issuer: Issuer, copied: Callable[[Any], Any]) -> None:
    trusted = TrustedIssuer(identifier=issuer.issuer, audiences=(AUDIENCE,))
    verifier = TokenVerifier(AuthConfig(issuers=(trusted,)), introspection=(of(None),))
    issuer.tokens[OPAQUE] = described(issuer) | {"iat": 1, "exp": int(time.time()) + 60}
    assert copied(verifier).verify(OPAQUE).subject == "user-1"
    assert copied(of(None)) == of(None)


def test_a_preset_works() -> None:
    auth0 = issuers.auth0("tenant.eu.auth0.com", audience="a")
    verifier = TokenVerifier(AuthConfig(issuers=(auth0,)), introspection=of(auth0.identifier))
    assert [one.identifier for one in verifier._introspectors] == ["https://tenant.eu.auth0.com/"]


# Processes


def test_a_child_of_a_process_that_was_asking_asks_itself(issuer: Issuer, verifier: TokenVerifier) -> None:
    asked = issuer.hang()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(verifier.verify, OPAQUE)
        assert asked.acquire(timeout=10)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(10)
                issuer.answers[PATH] = issuer.introspect
                (mine,) = verifier._introspectors
                assert isinstance(mine, Introspector)
                status = 0 if not mine._questions and mine._places.acquire(blocking=False) else 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        issuer.released.set()
        assert future.result(timeout=10).subject == "user-1"
