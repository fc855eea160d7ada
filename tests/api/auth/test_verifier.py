import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthError,
    AuthEvents,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingCredentials,
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


def test_each_issuer_has_its_own_token_types(issuers: Issuers) -> None:
    issuers.documents[f"{OTHER_ISSUER}/jwks"] = jwks(KEY)
    trusted = (
        TrustedIssuer(
            identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}jwks", token_types=("JWT", "at+jwt")
        ),
        TrustedIssuer(
            identifier=OTHER_ISSUER, audiences=(AUDIENCE,), jwks_url=f"{OTHER_ISSUER}/jwks", token_types=("at+jwt",)
        ),
    )
    verifier = TokenVerifier(AuthConfig(issuers=trusted), fetch=issuers.fetch, now=issuers.now)
    other_claims = issuers.claims(iss=OTHER_ISSUER)
    assert verifier.verify(KEY.sign(other_claims)).issuer == OTHER_ISSUER
    # The same header is good for one of them; it is remembered.
    assert verifier.verify(KEY.sign(issuers.claims(), typ="JWT")).issuer == ISSUER
    assert refused(lambda: verifier.verify(KEY.sign(other_claims, typ="JWT"))) is Reason.TOKEN_TYPE
    assert refused(lambda: verifier.verify(KEY.sign(issuers.claims(), typ="other"))) is Reason.TOKEN_TYPE


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


def rotate(issuers: Issuers, key_set: bytes, verifier: TokenVerifier) -> None:
    """Publish a key set, and have the verifier fetch it."""
    issuers.documents[f"{ISSUER}jwks"] = key_set
    issuers.seconds += 601
    assert refused(lambda: verifier.verify(rsa_key(2, "unknown").sign(issuers.claims()))) is Reason.KEY_UNKNOWN


def test_a_replaced_key_takes_its_cached_tokens_with_it(make: Make, issuers: Issuers) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    rotate(issuers, jwks(rsa_key(1, "key-1")), verifier)
    for _ in range(2):
        assert refused(lambda: verifier.verify(token)) is Reason.SIGNATURE
    assert outcomes.recorded == [False, Reason.KEY_UNKNOWN, Reason.SIGNATURE, Reason.SIGNATURE]
    assert not verifier._cache._entries


def test_a_new_key_beside_the_old_one_costs_a_cached_token_one_verification(make: Make, issuers: Issuers) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    rotate(issuers, jwks(KEY, OTHER), verifier)
    for _ in range(2):
        verifier.verify(token)
    assert outcomes.recorded == [False, Reason.KEY_UNKNOWN, False, True]


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


def test_a_fork_after_a_verifier_is_gone_raises_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    gc.collect()
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    child = os.fork()
    if child == 0:
        os._exit(1 if raised else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_verifies_that_was_forked_while_another_thread_held_a_lock(
    verifier: TokenVerifier, issuers: Issuers
) -> None:
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    with verifier._cache._lock, verifier._keys[ISSUER]._lock:  # as if another thread were in there
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
    verifier, counts = make(token_cache_size=0), []
    for number in range(200):
        verifier.verify(KEY.sign(issuers.claims(), number=number))
        counts.append(len(verifier._headers))
    assert max(counts) == 64


def test_the_cache_is_bounded(make: Make, issuers: Issuers) -> None:
    verifier = make(token_cache_size=10)
    for number in range(30):
        verifier.verify(KEY.sign(issuers.claims(jti=str(number))))
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


class Outcomes(AuthEvents):
    """Records for each accepted token whether it was cached, and for each refusal its reason."""

    def __init__(self) -> None:
        self.recorded: list[object] = []

    def token_accepted(self, *, from_cache: bool) -> None:
        self.recorded.append(from_cache)

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.recorded.append(reason)


@pytest.mark.parametrize("cache_size", [0, 100])
def test_outcomes_are_reported_once(make: Make, issuers: Issuers, cache_size: int) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes, token_cache_size=cache_size)
    token = KEY.sign(issuers.claims())
    verifier.verify(token)
    verifier.verify(token)
    with pytest.raises(InsufficientScope):
        verifier.verify(token, Requirement(scopes=("admin",)))
    with pytest.raises(InvalidToken):
        verifier.verify("x")
    assert outcomes.recorded == [False, cache_size > 0, Reason.SCOPE, Reason.MALFORMED]


# The header of a request


def test_a_header_with_a_good_token_is_accepted(make: Make, issuers: Issuers) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    header = f"Bearer {KEY.sign(issuers.claims())}"
    for requirement in (Requirement(), Requirement(scopes=("read:devices",)), Requirement(optional=True)):
        token = verifier.authenticate(header, requirement, query="a=b")
        assert token is not None
        assert token.subject == "user-1"
    assert refused(lambda: verifier.authenticate(header, Requirement(scopes=("admin",), optional=True))) is Reason.SCOPE
    assert outcomes.recorded == [False, True, True, Reason.SCOPE]


def test_a_token_is_cached_once_whatever_its_header_looks_like(make: Make, issuers: Issuers) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    token = KEY.sign(issuers.claims())
    for header in (f"Bearer   {token}", f"Bearer {token}", f"bearer {token}", f"Bearer  {token}"):
        assert verifier.authenticate(header) is not None
    assert verifier.authenticate(f"Bearer {token}", query="a=b") is not None
    assert outcomes.recorded == [False, True, True, True, True]
    assert len(verifier._cache._entries) == 1


def test_the_form_of_a_cached_token_is_not_checked_again(
    make: Make, issuers: Issuers, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = make()
    header = f"Bearer {KEY.sign(issuers.claims())}"
    verifier.authenticate(header)
    monkeypatch.setattr("api.auth.verifier.bearer_token", None)
    assert verifier.authenticate(header) is not None


def test_a_malformed_header_with_a_cached_token_is_refused(make: Make, issuers: Issuers) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    token = KEY.sign(issuers.claims())
    assert verifier.authenticate(f"Bearer {token}") is not None
    headers = [f"Bearer {token}{end}" for end in (" ", ",", f", Bearer {token}", "\0", "é")]
    headers += [f"Bearer\t{token}", f"Bearer \t{token}"]
    for header in headers:
        with pytest.raises(InvalidRequest):
            verifier.authenticate(header)
    assert refused(lambda: verifier.authenticate(f"Bearer {token}", query="access_token=x")) is Reason.SEVERAL_METHODS
    assert outcomes.recorded == [False, *[Reason.HEADER_MALFORMED] * len(headers), Reason.SEVERAL_METHODS]


@pytest.mark.parametrize("cache_size", [0, 100])
def test_a_verify_that_a_subclass_overrides_is_called_for_each_token(issuers: Issuers, cache_size: int) -> None:
    calls = []

    class Strict(TokenVerifier):
        def verify(self, unverified_token: str, *arguments: Any, **keywords: Any) -> AccessToken:
            calls.append(unverified_token)
            return super().verify(unverified_token, *arguments, **keywords)

    trusted = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}jwks")
    config = AuthConfig(issuers=(trusted,), token_cache_size=cache_size)
    verifier = Strict(config, fetch=issuers.fetch, now=issuers.now, monotonic=issuers.now)
    token = KEY.sign(issuers.claims())
    for header in (f"Bearer {token}", f"Bearer {token}", f"bearer {token}"):
        assert verifier.authenticate(header) is not None
    assert calls == [token] * 3


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, Reason.NO_CREDENTIALS),
        ("Basic dXNlcjpwYXNz", Reason.NO_CREDENTIALS),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", Reason.SCHEME_MISSING),
    ],
)
def test_a_request_without_a_token_is_refused_with_the_scopes_of_the_requirement(
    make: Make, header: str | None, reason: Reason
) -> None:
    outcomes = Outcomes()
    verifier = make(events=outcomes)
    with pytest.raises(MissingCredentials) as caught:
        verifier.authenticate(header, Requirement(scopes=("read:devices",)), query="access_token=x")
    assert caught.value.challenge(realm="api") == 'Bearer realm="api", scope="read:devices"'
    assert caught.value.reason is reason
    assert outcomes.recorded == [reason]
    assert verifier.authenticate(header, Requirement(scopes=("read:devices",), optional=True)) is None
    assert outcomes.recorded == [reason]


@pytest.mark.parametrize("optional", [False, True])
def test_a_malformed_request_is_refused_though_the_token_is_optional(
    make: Make, issuers: Issuers, *, optional: bool
) -> None:
    outcomes, requirement = Outcomes(), Requirement(optional=optional)
    verifier = make(events=outcomes)
    good = f"Bearer {KEY.sign(issuers.claims())}"
    assert refused(lambda: verifier.authenticate("Bearer", requirement)) is Reason.HEADER_MALFORMED
    assert refused(lambda: verifier.authenticate(good, requirement, query="access_token=")) is Reason.SEVERAL_METHODS
    assert outcomes.recorded == [Reason.HEADER_MALFORMED, Reason.SEVERAL_METHODS]


@pytest.mark.parametrize("token", ["", "x", "é" * 20, "\udc80", "a" * 8_001, "a.b.c", "\0"])
def test_any_text_is_refused_with_an_auth_error(verifier: TokenVerifier, token: str) -> None:
    assert refused(lambda: verifier.verify(token)) in {Reason.MALFORMED, Reason.TOO_LONG}


def of_length(issuers: Issuers, length: int) -> str:
    """Return a valid token of so many characters."""
    missing = (length - len(KEY.sign(issuers.claims(padding=""), padding=""))) * 3 // 4
    for in_payload, in_header in itertools.product(range(missing - 8, missing + 1), range(8)):
        token = KEY.sign(issuers.claims(padding="b" * in_payload), padding="a" * in_header)
        if len(token) == length:
            return token
    raise AssertionError(length)


def test_a_token_of_8000_characters_is_accepted_and_none_that_is_longer(
    verifier: TokenVerifier, issuers: Issuers
) -> None:
    assert verifier.verify(of_length(issuers, 8_000)).subject == "user-1"
    assert refused(lambda: verifier.verify(of_length(issuers, 8_001))) is Reason.TOO_LONG


def test_a_token_that_is_too_long_is_refused_before_it_is_hashed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []
    monkeypatch.setattr("api.auth.token_cache.sha256", hashed.append)
    with pytest.raises(AttributeError):
        make().verify("a")
    assert hashed == [b"a"]
    assert refused(lambda: make().verify("a" * 1_000_000)) is Reason.TOO_LONG
    assert refused(lambda: make().authenticate("Bearer " + "a" * 1_000_000)) is Reason.TOO_LONG
    assert hashed == [b"a"]


def test_errors_tell_nothing_of_the_token(verifier: TokenVerifier, issuers: Issuers) -> None:
    token = KEY.sign(issuers.claims(), kid='"\r\nX-Evil: 1')
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    challenge = caught.value.challenge(realm="api")
    assert challenge is not None
    assert "Evil" not in challenge + str(caught.value) + caught.value.detail
