"""Opaque tokens before a real HTTP server that answers as an issuer's introspection endpoint does (RFC 7662)."""

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthEvents,
    IntrospectionUnavailable,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
)
from api.auth.introspection import Introspection, introspector
from api.auth.introspection.introspector import MAX_PATIENT, MAX_QUESTIONS, Introspector
from tests.api.auth.introspection.issuer import (
    KEY,
    NOW,
    OPAQUE,
    PATH,
    Clock,
    Issuer,
    Make,
    Recorded,
    described,
    refused,
    unavailable,
)
from tests.kit.key_server import Answer, document, raw_answer
from tests.kit.signing import claims

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


@pytest.mark.parametrize("cache_size", [0, 100])
def test_a_token_of_8000_characters_arrives(issuer: Issuer, make: Make, cache_size: int) -> None:
    issuer.tokens["a" * 7_998 + "=="] = described(issuer)
    assert make(cache_size=cache_size).verify("a" * 7_998 + "==").subject == "user-1"


@given(
    token=st.from_regex(r"[A-Za-z0-9\-._~+/]{1,40}={0,2}", fullmatch=True)
    | st.from_regex(r"e[xyw][A-Za-z0-9\-_]{0,20}(\.[A-Za-z0-9\-_]{0,20}){1,3}", fullmatch=True)
)
@settings(max_examples=100, deadline=None)
def test_every_token_that_a_header_can_hold_is_either_opaque_or_a_jwt(token: str) -> None:
    config = AuthConfig(issuers=(TrustedIssuer(identifier="https://a.example/", audiences=("a",)),))
    asked = Introspection(client_id="api", client_secret="s").start(
        config, events=AuthEvents(), fetch=lambda *_: pytest.fail("fetched"), now=Clock(), monotonic=Clock()
    )
    assert asked.takes(token) is not (token.startswith(("ey", "ew")) and token.count(".") == 2)


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
    monkeypatch.setattr(introspector, "_MAX_REFUSED", 5)
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
    ("answer", "is_outage"),
    [
        *[(document(b'{"active":true}', status=status), True) for status in (401, 403, 429, 502, 503, 504)],
        *[
            (document(b'{"active":true}', status=status), False)
            for status in (201, 400, 402, 404, 428, 430, 500, 501, 505)
        ],
        (raw_answer(b"nonsense\r\n\r\n"), True),
        (document(b"[]"), False),
    ],
)
def test_an_answer_that_says_nothing_of_the_token_is_an_outage(
    issuer: Issuer, verifier: TokenVerifier, answer: Answer, *, is_outage: bool
) -> None:
    issuer.answers[PATH] = answer
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
    # And every ten minutes.
    clock.seconds += 599
    verifier.verify(OPAQUE)
    assert issuer.requests["/.well-known/openid-configuration"] == 2
    clock.seconds += 1
    refused(lambda: verifier.verify("another"))
    assert issuer.requests["/.well-known/openid-configuration"] == 3


def test_without_an_endpoint_in_the_metadata_nothing_is_asked(
    issuer: Issuer, verifier: TokenVerifier, events: Recorded
) -> None:
    issuer.open(has_metadata=False)
    unavailable(lambda: verifier.verify(OPAQUE))
    assert events.words[0] == "discovery: the metadata has no https introspection_endpoint"
    unavailable(lambda: verifier.verify("another"))
    assert (issuer.questions, issuer.requests["/.well-known/openid-configuration"]) == (0, 1)


# Many requests


def test_the_limits_are_those_of_the_documentation() -> None:
    assert (introspector.ANSWER_SECONDS, introspector.PATIENCE_SECONDS) == (3, 0.5)
    assert (MAX_QUESTIONS, MAX_PATIENT, introspector._MAX_REFUSED) == (4, 4, 1_000)


def test_requests_with_the_same_token_ask_once(issuer: Issuer, verifier: TokenVerifier, events: Recorded) -> None:
    asked = issuer.hang()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(verifier.verify, OPAQUE) for _ in range(8)]
        assert asked.acquire(timeout=10)
        issuer.released.set()
        assert {future.result(timeout=10).subject for future in futures} == {"user-1"}
    assert issuer.questions == 1
    assert events.answered == [issuer.issuer]


def test_requests_that_waited_for_a_place_with_the_same_token_ask_once(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = threading.Semaphore(0)

    class Places(threading.Semaphore):
        def acquire(self, *arguments: Any, **named: Any) -> bool:
            came.release()
            return super().acquire(*arguments, **named)

    (asking,) = verifier._introspectors
    assert isinstance(asking, Introspector)
    monkeypatch.setattr(introspector, "PATIENCE_SECONDS", 10)
    monkeypatch.setattr(asking, "_places", Places(MAX_QUESTIONS))
    issuer.hang()
    with ThreadPoolExecutor(MAX_QUESTIONS + 2) as pool:
        others = [pool.submit(verifier.verify, f"other-{number}") for number in range(MAX_QUESTIONS)]
        for _ in others:
            assert came.acquire(timeout=10)
        same = [pool.submit(verifier.verify, OPAQUE) for _ in range(2)]
        for _ in same:
            assert came.acquire(timeout=10)
        issuer.released.set()
        assert [future.result(timeout=10).subject for future in same] == ["user-1", "user-1"]
    assert issuer.questions == MAX_QUESTIONS + 1


class Places(threading.Semaphore):
    """The places of an introspector; the first request that takes one does `meanwhile` first."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(MAX_QUESTIONS)
        self.meanwhile: list[Callable[[], object]] = [meanwhile]

    def acquire(self, *arguments: Any, **named: Any) -> bool:
        if self.meanwhile:
            self.meanwhile.pop()()
        return super().acquire(*arguments, **named)

    def free(self) -> int:
        return sum(self.acquire(blocking=False) for _ in range(MAX_QUESTIONS + 1))


def test_a_request_uses_the_answer_that_came_while_it_waited_for_a_place(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    (asking,) = verifier._introspectors
    places = Places(lambda: verifier.verify(OPAQUE))
    monkeypatch.setattr(asking, "_places", places)
    started = time.monotonic()
    assert verifier.verify(OPAQUE).subject == "user-1"
    assert time.monotonic() - started < 0.4
    assert (issuer.questions, places.free()) == (1, MAX_QUESTIONS)


def test_a_request_joins_the_question_that_was_asked_while_it_waited_for_a_place(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    (asking,) = verifier._introspectors
    assert isinstance(asking, Introspector)
    asked, add_question = issuer.hang(), asking._add_question
    others: list[Future[AccessToken]] = []
    are_new: list[bool] = []

    def add_and_release(key: bytes) -> Any:
        question, is_new = add_question(key)
        are_new.append(is_new)
        if not is_new:
            issuer.released.set()
        return question, is_new

    with ThreadPoolExecutor(1) as pool:

        def ask_in_another_thread() -> None:
            others.append(pool.submit(verifier.verify, OPAQUE))
            assert asked.acquire(timeout=10)

        places = Places(ask_in_another_thread)
        monkeypatch.setattr(asking, "_places", places)
        monkeypatch.setattr(asking, "_add_question", add_and_release)
        assert verifier.verify(OPAQUE).subject == "user-1"
        assert others[0].result(timeout=10).subject == "user-1"
    assert are_new == [True, False]
    assert (issuer.questions, places.free()) == (1, MAX_QUESTIONS)


def test_questions_that_fail_at_the_same_time_are_one_failure(issuer: Issuer, verifier: TokenVerifier) -> None:
    asked = threading.Semaphore(0)

    def fail_when_released(handler: Any) -> None:
        asked.release()
        issuer.released.wait()
        document(b"{}", status=503)(handler)

    issuer.answers[PATH] = fail_when_released
    with ThreadPoolExecutor(MAX_QUESTIONS) as pool:
        futures = [pool.submit(verifier.verify, f"token-{number}") for number in range(MAX_QUESTIONS)]
        for _ in futures:
            assert asked.acquire(timeout=10)
        issuer.released.set()
        for future in futures:
            unavailable(lambda future=future: future.result(timeout=10))  # type: ignore[misc]
    (asking,) = verifier._introspectors
    assert isinstance(asking, Introspector)
    assert asking._back_off.retry_at - NOW <= 1


def test_an_issuer_that_hangs_occupies_four_requests_at_most(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspector, "PATIENCE_SECONDS", 0.05)
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
        assert {(type(one), getattr(one, "retry_after_seconds", None)) for one in refusals} == {
            (IntrospectionUnavailable, 1)
        }
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


def test_a_minute_after_a_failure_several_requests_ask_again(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.answers[PATH] = document(b"{}", status=503)
    unavailable(lambda: verifier.verify(OPAQUE))
    clock.seconds += 60
    issuer.tokens["another"] = described(issuer)
    asked = issuer.hang()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(verifier.verify, token) for token in (OPAQUE, "another")]
        assert all(asked.acquire(timeout=2) for _ in futures)
        issuer.released.set()
        assert [future.result(timeout=10).subject for future in futures] == ["user-1", "user-1"]


def test_an_issuer_that_hangs_is_waited_for_3_seconds_at_most(
    issuer: Issuer, verifier: TokenVerifier, events: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspector, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(introspector, "PATIENCE_SECONDS", 0.1)
    issuer.hang()
    started = time.monotonic()
    unavailable(lambda: verifier.verify(OPAQUE))
    assert time.monotonic() - started < 2
    issuer.released.set()


def test_a_slow_issuer_is_waited_for_again_and_again(
    issuer: Issuer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspector, "PATIENCE_SECONDS", 0)
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
    assert isinstance(asking, Introspector)
    asked = issuer.hang()
    asking.start_check()
    assert asked.acquire(timeout=10)
    issuer.released.set()
    assert asking.is_ready()
    asking.start_check()
    assert not asking._questions
    assert asking.is_ready()
    assert [form["token"] for form in issuer.forms] == [["a-token-that-nobody-has"]]


def test_whether_it_is_ready_is_found_out_with_a_token_that_nobody_has(issuer: Issuer, verifier: TokenVerifier) -> None:
    (asking,) = verifier._introspectors
    assert asking.is_ready()
    assert [form["token"] for form in issuer.forms] == [["a-token-that-nobody-has"]]


def test_an_issuer_of_both_kinds_needs_both(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.break_keys(document(b"{}", status=500))
    assert verifier.readiness() == {issuer.issuer: False}


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
