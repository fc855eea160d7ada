import os
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthError,
    AuthEvents,
    InsufficientScope,
    InvalidToken,
    KeysUnavailable,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
)
from api.auth.keys.fetch import Fetched, FetchError
from tests.kit.signing import AUDIENCE, ISSUER, claims, ec_key, ed25519_key, jwks, rsa_key

KEY, OTHER = rsa_key(0, "key-1"), rsa_key(1, "key-2")
OTHER_ISSUER = "https://other.example"


class Issuers:
    """Serves key sets by address without a network, and tells the time."""

    def __init__(self) -> None:
        self.documents = {f"{ISSUER}jwks": jwks(KEY), f"{OTHER_ISSUER}/jwks": jwks(OTHER)}
        self.seconds = 1_800_000_000.0
        self.fetches = 0

    def fetch(self, url: str, _seconds: float) -> Fetched:
        self.fetches += 1
        if url not in self.documents:
            raise FetchError("no answer")
        return Fetched(self.documents[url], 600)

    def now(self) -> float:
        return self.seconds

    def claims(self, **changes: Any) -> dict[str, Any]:
        return claims(self.seconds, **changes)


@pytest.fixture
def issuers() -> Issuers:
    return Issuers()


Make = Callable[..., TokenVerifier]


@pytest.fixture
def make(issuers: Issuers) -> Make:
    def make(
        *, events: AuthEvents | None = None, is_revoked: Callable[[AccessToken], bool] | None = None, **config: Any
    ) -> TokenVerifier:
        trusted = (
            TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}jwks"),
            TrustedIssuer(identifier=OTHER_ISSUER, audiences=("b",), jwks_url=f"{OTHER_ISSUER}/jwks"),
        )
        return TokenVerifier(
            AuthConfig(issuers=trusted, **config),
            events=events,
            is_revoked=is_revoked,
            fetch=issuers.fetch,
            now=issuers.now,
            monotonic=issuers.now,
        )

    return make


@pytest.fixture(params=[0, 100], ids=["without cache", "with cache"])
def verifier(make: Make, request: pytest.FixtureRequest) -> TokenVerifier:
    return make(token_cache_size=request.param)


def refused(verify: Callable[[], object]) -> Reason:
    with pytest.raises(AuthError) as caught:
        verify()
    return caught.value.reason


def test_verifies_again_and_again(verifier: TokenVerifier, issuers: Issuers) -> None:
    token = KEY.sign(issuers.claims())
    assert verifier.verify(token) == verifier.verify(token) == verifier.verify(token)
    assert verifier.verify(token).subject == "user-1"
    assert issuers.fetches == 1


def test_each_issuer_has_its_own_keys_and_audience(verifier: TokenVerifier, issuers: Issuers) -> None:
    assert verifier.verify(OTHER.sign(issuers.claims(iss=OTHER_ISSUER, aud="b"))).issuer == OTHER_ISSUER
    assert refused(lambda: verifier.verify(OTHER.sign(issuers.claims()))) is Reason.KEY_UNKNOWN
    assert refused(lambda: verifier.verify(rsa_key(1, "key-1").sign(issuers.claims()))) is Reason.SIGNATURE
    assert refused(lambda: verifier.verify(OTHER.sign(issuers.claims(iss=OTHER_ISSUER)))) is Reason.AUDIENCE


@pytest.mark.parametrize("issuer", [ISSUER[:-1], ISSUER.upper(), "", None, 1, [ISSUER], {}])
def test_the_issuer_must_be_a_trusted_one_to_the_character(
    verifier: TokenVerifier, issuers: Issuers, issuer: Any
) -> None:
    assert refused(lambda: verifier.verify(KEY.sign({**issuers.claims(), "iss": issuer}))) is Reason.ISSUER
    assert issuers.fetches == 0


def test_remembered_tokens_are_checked_again(verifier: TokenVerifier, issuers: Issuers) -> None:
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    assert refused(lambda: verifier.verify(token, Requirement(audiences=("b",)))) is Reason.AUDIENCE
    assert refused(lambda: verifier.verify(token, Requirement(issuers=(OTHER_ISSUER,)))) is Reason.ISSUER
    assert refused(lambda: verifier.verify(token, Requirement(scopes=("write:devices",)))) is Reason.SCOPE
    verifier.verify(token, Requirement(scopes=("read:devices",)))
    issuers.seconds += 3600 + 30
    assert refused(lambda: verifier.verify(token)) is Reason.EXPIRED


def test_revocation_is_asked_about_remembered_tokens_too(make: Make, issuers: Issuers) -> None:
    revoked: set[str | None] = set()
    verifier = make(is_revoked=lambda token: token.token_id in revoked)
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    revoked.add("token-1")
    assert refused(lambda: verifier.verify(token)) is Reason.REVOKED
    assert refused(lambda: verifier.verify(KEY.sign(issuers.claims()))) is Reason.REVOKED


def test_a_withdrawn_key_takes_its_remembered_tokens_with_it(make: Make, issuers: Issuers) -> None:
    finished = threading.Semaphore(0)

    class Events(AuthEvents):
        def keys_fetched(self, issuer: str, key_count: int) -> None:
            finished.release()

    verifier = make(events=Events())
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    assert finished.acquire(timeout=10)
    issuers.documents[f"{ISSUER}jwks"] = jwks(OTHER)
    issuers.seconds += 550
    verifier.verify(token)  # good until the refresh, which it starts
    assert finished.acquire(timeout=10)
    assert refused(lambda: verifier.verify(token)) is Reason.KEY_UNKNOWN


def test_a_forked_process_verifies(verifier: TokenVerifier, issuers: Issuers) -> None:
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    issuers.documents[f"{ISSUER}jwks"] = jwks(KEY, OTHER)
    child = os.fork()
    if child == 0:
        # Report by the exit status: an exception would go on with the parent's test run in the child.
        try:
            verifier.verify(token)
            verifier.verify(OTHER.sign(issuers.claims()))  # needs a fetch, and so a thread
            os._exit(0)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert issuers.fetches == 1


def test_a_process_verifies_that_was_forked_while_another_thread_held_a_lock(
    verifier: TokenVerifier, issuers: Issuers
) -> None:
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    token_lock = nullcontext() if verifier._cache is None else verifier._cache._lock
    with token_lock, verifier._keys[ISSUER]._lock:  # as if another thread were in there
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends a child that waits for the lock
            try:
                verifier.verify(token)
                assert refused(lambda: verifier.verify(OTHER.sign(issuers.claims()))) is Reason.KEY_UNKNOWN
                os._exit(0)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_header_of_a_refused_token_is_not_remembered(verifier: TokenVerifier, issuers: Issuers) -> None:
    good = KEY.sign(issuers.claims())
    forged = ".".join([good.split(".")[0], *rsa_key(1, "key-1").sign(issuers.claims(sub="evil")).split(".")[1:]])
    assert refused(lambda: verifier.verify(forged)) is Reason.SIGNATURE
    verifier.verify(good)
    assert refused(lambda: verifier.verify(forged)) is Reason.SIGNATURE


def test_many_headers_do_not_pile_up(make: Make, issuers: Issuers) -> None:
    verifier = make(token_cache_size=0)
    for number in range(200):
        verifier.verify(KEY.sign(issuers.claims(), number=number))
    assert len(verifier._headers) <= 64


def test_the_cache_is_bounded(make: Make, issuers: Issuers) -> None:
    verifier = make(token_cache_size=10)
    for number in range(30):
        verifier.verify(KEY.sign(issuers.claims(jti=str(number))))
    assert verifier._cache is not None
    assert len(verifier._cache._entries) == 10


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "ES256", "EdDSA"])
def test_other_algorithms_work_where_they_are_allowed(make: Make, issuers: Issuers, algorithm: str) -> None:
    key = {"ES256": ec_key("k"), "EdDSA": ed25519_key("k")}.get(algorithm, rsa_key(0, "k", algorithm))
    issuers.documents[f"{ISSUER}jwks"] = jwks(KEY, key)
    token = key.sign(issuers.claims())
    assert make(algorithms=("RS256", algorithm)).verify(token).subject == "user-1"
    assert refused(lambda: make().verify(token)) is Reason.ALGORITHM


def test_without_keys_the_answer_is_503(make: Make, issuers: Issuers) -> None:
    issuers.documents.clear()
    verifier = make()
    with pytest.raises(KeysUnavailable):
        verifier.verify(KEY.sign(issuers.claims()))
    assert verifier.readiness() == {ISSUER: False, OTHER_ISSUER: False}


def test_readiness_is_told_for_each_issuer(make: Make, issuers: Issuers) -> None:
    del issuers.documents[f"{ISSUER}jwks"]
    assert make().readiness() == {ISSUER: False, OTHER_ISSUER: True}


def test_outcomes_are_reported_once(make: Make, issuers: Issuers) -> None:
    recorded: list[object] = []

    class Events(AuthEvents):
        def token_accepted(self, *, from_cache: bool) -> None:
            recorded.append(from_cache)

        def token_refused(self, reason: Reason, *, claim: str | None) -> None:
            recorded.append(reason)

    verifier = make(events=Events())
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    verifier.verify(token)
    with pytest.raises(InsufficientScope):
        verifier.verify(token, Requirement(scopes=("admin",)))
    with pytest.raises(InvalidToken):
        verifier.verify("x")
    assert recorded == [False, True, Reason.SCOPE, Reason.MALFORMED]


@pytest.mark.parametrize("token", ["", "x", "é" * 20, "\udc80", "a" * 8_001, "a.b.c", "\0"])
def test_any_text_is_refused_with_an_auth_error(verifier: TokenVerifier, token: str) -> None:
    assert refused(lambda: verifier.verify(token)) in {Reason.MALFORMED, Reason.TOO_LONG}


def test_errors_tell_nothing_of_the_token(verifier: TokenVerifier, issuers: Issuers) -> None:
    token = KEY.sign(issuers.claims(), kid='"\r\nX-Evil: 1')
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    challenge = caught.value.challenge(realm="api")
    assert challenge is not None
    assert "Evil" not in challenge + str(caught.value) + caught.value.detail
