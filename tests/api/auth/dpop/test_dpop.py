"""`DPoP` with a TokenVerifier, without a web framework and with a clock of our own."""

import copy
import gc
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import JWKRegistry

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthError,
    AuthEvents,
    ConfigError,
    InvalidDPoPProof,
    InvalidToken,
    Reason,
    ReplaysUnavailable,
    Requirement,
    Sender,
    TokenVerifier,
    TrustedIssuer,
    UnverifiedRequest,
    UseDPoPNonce,
)
from api.auth.dpop import DPoP
from api.auth.dpop.nonces import NONCE_SECONDS
from api.auth.dpop.proof import ALGORITHMS, check_claims, read_key
from api.auth.keys.fetch import Fetched
from tests.kit.proofs import ath, proof, public_jwk, thumbprint
from tests.kit.signing import (
    AUDIENCE,
    ISSUER,
    SigningKey,
    b64,
    claims,
    ec_key,
    ed25519_key,
    jwks,
    rsa_key,
)

KEY = rsa_key(0)
DEVICE, OTHER_DEVICE, ED_DEVICE, RSA_DEVICE = ec_key(), ec_key(), ed25519_key(), rsa_key(3)
URL = "https://api.example/v1/me"
NOW = 1_800_000_000.0
SECRET = b"secret of thirty-two bytes or so"
# The same examples in every run, and none kept between runs.
same_each_time = settings(derandomize=True, database=None, deadline=None, max_examples=150)


class Clock:
    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Heard(AuthEvents):
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def token_accepted(self, *, from_cache: bool) -> None:
        self.outcomes.append("accepted")

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.outcomes.append(f"{reason.value} {claim}")


class Device:
    """A client, and the API that it calls."""

    def __init__(self, dpop: DPoP | None, clock: Clock | None = None, **verifier: Any) -> None:
        self.clock = clock or Clock()
        self.events = Heard()
        issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}keys")
        self.verifier = TokenVerifier(
            AuthConfig(issuers=(issuer,)),
            events=self.events,
            fetch=lambda _url, _timeout_seconds: Fetched(jwks(KEY), None),
            now=self.clock,
            **verifier,
        )
        self.dpop = dpop
        self.offered: list[str] = []
        self.requests = 0

    def token(self, key: SigningKey = DEVICE, **changes: Any) -> str:
        return KEY.sign(claims(NOW, **{"cnf": {"jkt": thumbprint(key)}, "exp": NOW + 1e6, **changes}))

    def proof(self, token: str, key: SigningKey = DEVICE, **changes: Any) -> str:
        return proof(key, token, **{"url": URL, "now": self.clock.seconds, **changes})

    def send(
        self,
        token: str,
        made: str | None,
        requirement: Requirement | None = None,
        *,
        scheme: str = "DPoP",
        mtls: Any = None,
    ) -> AccessToken | None:
        def request() -> UnverifiedRequest:
            self.requests += 1
            return UnverifiedRequest("GET", URL, {"DPoP": made}.get, offer_nonce=self.offered.append)

        sender = Sender(request=request, dpop=self.dpop, mtls=mtls)
        authorization = f"{scheme} {token}"
        return self.verifier.authenticate(authorization, requirement or Requirement(), sender=sender)

    def refusal(self, *arguments: Any, **options: Any) -> tuple[type[AuthError], Reason]:
        with pytest.raises(AuthError) as caught:
            self.send(*arguments, **options)
        return type(caught.value), caught.value.reason


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def device(clock: Clock) -> Device:
    return Device(DPoP(now=clock), clock)


# --- What is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [DEVICE, ED_DEVICE, RSA_DEVICE], ids=lambda key: key.algorithm)
def test_a_token_with_its_proof_is_accepted(device: Device, key: SigningKey) -> None:
    token = device.token(key)
    for _ in range(2):  # with a key that was not seen before, and with one that was
        accepted = device.send(token, device.proof(token, key))
        assert accepted is not None
        assert accepted.key_thumbprint == thumbprint(key)
    assert device.events.outcomes == ["accepted", "accepted"]


def test_a_proof_opens_once(device: Device) -> None:
    token = device.token()
    made = device.proof(token)
    device.send(token, made)
    assert device.refusal(token, made) == (InvalidDPoPProof, Reason.PROOF_REPLAYED)
    # Another proof with the same jti, too; another key may have the same.
    assert device.refusal(token, device.proof(token, jti=jti_of(made))) == (InvalidDPoPProof, Reason.PROOF_REPLAYED)
    of_other = device.token(OTHER_DEVICE)
    device.send(of_other, device.proof(of_other, OTHER_DEVICE, jti=jti_of(made)))
    assert device.events.outcomes == ["accepted", "proof_replayed jti", "proof_replayed jti", "accepted"]


@pytest.mark.parametrize("changes", [{"jti": "a"}, {"nbf": NOW}, {"nbf": NOW + 60}], ids=str)
def test_claims_at_their_limits_are_accepted(device: Device, changes: dict[str, Any]) -> None:
    token = device.token()
    assert device.send(token, device.proof(token, **changes))


@pytest.mark.parametrize(
    ("algorithm", "of_key"),
    [("EdDSA", None), ("EdDSA", "EdDSA"), ("Ed25519", None), ("Ed25519", "EdDSA"), ("Ed25519", "Ed25519")],
)
def test_either_name_of_the_algorithm_of_ed25519_is_accepted(
    device: Device, algorithm: str, of_key: str | None
) -> None:
    token = device.token(ED_DEVICE)
    header = {"alg": algorithm, "jwk": public_jwk(ED_DEVICE, alg=of_key)}
    assert device.send(token, device.proof(token, ED_DEVICE, header=header))


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_key_for_another_algorithm_is_refused(device: Device, algorithm: str) -> None:
    token = device.token(ED_DEVICE)
    header = {"alg": algorithm, "jwk": public_jwk(ED_DEVICE, alg="ES256")}
    assert device.refusal(token, device.proof(token, ED_DEVICE, header=header)) == (
        InvalidDPoPProof,
        Reason.PROOF_KEY,
    )


@pytest.mark.parametrize("jwk", [None, [], "key", 1])
@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_what_is_no_key_is_refused(device: Device, algorithm: str, jwk: Any) -> None:
    token = device.token()
    made = device.proof(token, header={"alg": algorithm, "jwk": jwk})
    assert device.refusal(token, made) == (InvalidDPoPProof, Reason.PROOF_KEY)


def test_an_address_that_is_no_url_matches_only_itself() -> None:
    made = {"jti": "a", "htm": "GET", "htu": "ours", "iat": NOW, "ath": "x"}
    limits: dict[str, Any] = {"method": "GET", "ath": "x", "now": NOW, "window_seconds": 60}
    assert check_claims(made, url="ours", **limits) == "a"
    with pytest.raises(InvalidDPoPProof) as caught:
        check_claims(made, url="theirs", **limits)
    assert caught.value.reason is Reason.PROOF_URL


def jti_of(made: str) -> str:
    return str(jwt.decode(made, options={"verify_signature": False})["jti"])


def test_of_many_requests_at_once_with_one_proof_one_is_let_in(device: Device) -> None:
    token = device.token()
    made = device.proof(token)

    def is_let_in(_number: int) -> bool:
        try:
            return device.send(token, made) is not None
        except InvalidDPoPProof:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(is_let_in, range(200))) == 1


def test_what_is_refused_uses_up_no_proof(device: Device) -> None:
    token = device.token()
    made = device.proof(token, htm="POST")
    for _ in range(2):
        assert device.refusal(token, made) == (InvalidDPoPProof, Reason.PROOF_METHOD)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_proof_is_remembered_for_as_long_as_it_would_be_accepted(clock: Clock, seconds: int) -> None:
    class Replays:
        def __init__(self) -> None:
            self.seconds: list[int] = []

        def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
            self.seconds.append(seconds)
            return True

    replays = Replays()
    device = Device(DPoP(now=clock, replays=replays), clock)
    token = device.token()
    made = device.proof(token, iat=NOW + seconds)
    device.send(token, made)
    clock.seconds = NOW + seconds + 60  # the last moment
    device.send(token, made)
    clock.seconds += 1
    assert device.refusal(token, made) == (InvalidDPoPProof, Reason.PROOF_TIME)
    # From a minute in the future to a minute in the past, both included.
    assert replays.seconds == [121, 121]


@pytest.mark.parametrize(
    ("iat", "answer"), [(-10, None), (-11, Reason.PROOF_TIME), (10, None), (11, Reason.PROOF_TIME)]
)
def test_the_window_can_be_set(clock: Clock, iat: int, answer: Reason | None) -> None:
    device = Device(DPoP(now=clock, window_seconds=10), clock)
    token = device.token()
    made = device.proof(token, iat=NOW + iat)
    if answer is None:
        assert device.send(token, made)
    else:
        assert device.refusal(token, made) == (InvalidDPoPProof, answer)


def test_the_algorithms_can_be_set(clock: Clock) -> None:
    device = Device(DPoP(now=clock, algorithms=("EdDSA",)), clock)
    token = device.token()
    assert device.refusal(token, device.proof(token)) == (InvalidDPoPProof, Reason.PROOF_ALGORITHM)
    token = device.token(ED_DEVICE)
    assert device.send(token, device.proof(token, ED_DEVICE))


def test_many_keys_are_kept_for_a_while_only(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.dpop.dpop._MAX_KEYS", 2)
    token = device.token()
    for number in range(5):
        assert device.send(token, device.proof(token, header={"x": number}))
        assert device.dpop is not None
        assert len(device.dpop._keys) <= 2


def test_keys_of_proofs_that_are_refused_are_not_kept(device: Device) -> None:
    token = device.token()
    made = device.proof(token)
    broken = f"{made.rpartition('.')[0]}.{b64(bytes(64))}"
    assert device.refusal(token, broken) == (InvalidDPoPProof, Reason.PROOF_SIGNATURE)
    assert device.refusal(token, device.proof(token, OTHER_DEVICE)) == (InvalidToken, Reason.KEY_MISMATCH)
    assert device.dpop is not None
    assert device.dpop._keys == {}


# --- Schemes, requirements, other bindings ----------------------------------------------------------------------------


def test_a_bound_token_needs_a_sender() -> None:
    device = Device(None)
    token = device.token()
    attempts: list[Callable[[], object]] = [
        lambda: device.verifier.verify(token),
        lambda: device.verifier.authenticate(f"Bearer {token}"),
        lambda: device.send(token, device.proof(token), scheme="Bearer"),
    ]
    for refused in attempts:
        with pytest.raises(InvalidToken) as caught:
            refused()
        assert caught.value.reason is Reason.KEY_BOUND
    assert device.requests == 0


def test_where_dpop_is_not_accepted_the_scheme_is_another_one() -> None:
    device = Device(None)
    token = device.token()
    with pytest.raises(AuthError) as caught:
        device.send(token, device.proof(token))
    assert (caught.value.status, caught.value.error) == (401, None)
    assert device.send(token, device.proof(token), Requirement(optional=True)) is None


def test_a_plain_token_needs_nothing_of_the_request(device: Device) -> None:
    token = device.token(cnf=None)
    assert device.send(token, None, scheme="Bearer")
    assert device.requests == 0


def test_required_for_all(clock: Clock) -> None:
    device = Device(DPoP(now=clock, required=True), clock)
    plain, bound = device.token(cnf=None), device.token()
    assert device.refusal(plain, None, scheme="Bearer") == (InvalidToken, Reason.NOT_KEY_BOUND)
    assert device.refusal(bound, device.proof(bound), scheme="Bearer") == (InvalidToken, Reason.KEY_BOUND)
    assert device.send(bound, device.proof(bound))


def test_required_for_a_route(device: Device) -> None:
    requirement = Requirement(dpop="required")
    plain, bound = device.token(cnf=None), device.token()
    assert device.refusal(plain, None, requirement, scheme="Bearer") == (InvalidToken, Reason.NOT_KEY_BOUND)
    assert device.send(bound, device.proof(bound), requirement)
    assert device.send(plain, None, scheme="Bearer")


def test_a_missing_scope_is_told_to_the_holder_of_the_key_alone(device: Device) -> None:
    requirement, token = Requirement(scopes=("admin",)), device.token()
    assert device.refusal(token, None, requirement)[1] is Reason.PROOF_MISSING
    assert device.refusal(token, device.proof(token), requirement)[1] is Reason.SCOPE


def test_an_optional_route_refuses_a_bad_proof(device: Device) -> None:
    token = device.token()
    assert device.refusal(token, None, Requirement(optional=True)) == (InvalidDPoPProof, Reason.PROOF_MISSING)


def test_a_revoked_token_is_refused_before_its_proof_counts(clock: Clock) -> None:
    device = Device(DPoP(now=clock), clock, is_revoked=lambda token: token.token_id == "gone")
    token = device.token(jti="gone")
    assert device.refusal(token, device.proof(token)) == (InvalidToken, Reason.REVOKED)
    assert device.requests == 0


class Certificates:
    """Stands for mutual TLS, which is another module's."""

    def __init__(self, *, required: bool = False, is_there: bool = True) -> None:
        self.required = required
        self.is_there = is_there

    def check(self, token: AccessToken, request: UnverifiedRequest) -> None:
        if not self.is_there:
            raise InvalidToken(Reason.KEY_MISMATCH, claim="cnf")


def test_a_token_with_two_bindings_needs_both(device: Device) -> None:
    token = device.token(cnf={"jkt": thumbprint(DEVICE), "x5t#S256": "c" * 43})
    assert device.refusal(token, device.proof(token)) == (InvalidToken, Reason.KEY_BOUND)
    without = Certificates(is_there=False)
    assert device.refusal(token, device.proof(token), mtls=without) == (InvalidToken, Reason.KEY_MISMATCH)
    assert device.refusal(token, None, mtls=Certificates())[1] is Reason.PROOF_MISSING
    assert device.send(token, device.proof(token), mtls=Certificates())


def test_a_certificate_is_no_key_of_dpop(device: Device) -> None:
    token = device.token(cnf={"x5t#S256": "c" * 43})
    assert device.refusal(token, device.proof(token), mtls=Certificates())[1] is Reason.NOT_KEY_BOUND
    assert device.send(token, None, scheme="Bearer", mtls=Certificates())
    plain = device.token(cnf=None)
    assert device.refusal(plain, None, scheme="Bearer", mtls=Certificates(required=True)) == (
        InvalidToken,
        Reason.NOT_CERTIFICATE_BOUND,
    )


# --- Nonces -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def nonces(clock: Clock) -> Device:
    return Device(DPoP(now=clock, nonce_secret=SECRET), clock)


@pytest.mark.parametrize("nonce", [None, "", "x", 1, ["x"]])
def test_a_proof_needs_the_nonce(nonces: Device, nonce: Any) -> None:
    token = nonces.token()
    assert nonces.refusal(token, nonces.proof(token, nonce=nonce)) == (UseDPoPNonce, Reason.PROOF_NONCE)
    assert nonces.events.outcomes == ["proof_nonce nonce"]


def test_the_answer_has_the_nonce_to_use(nonces: Device) -> None:
    token = nonces.token()
    with pytest.raises(UseDPoPNonce) as caught:
        nonces.send(token, nonces.proof(token))
    headers = caught.value.headers(realm="r", dpop=nonces.dpop)
    assert 'DPoP realm="r", error="use_dpop_nonce"' in headers["WWW-Authenticate"]
    assert nonces.send(token, nonces.proof(token, nonce=headers["DPoP-Nonce"]))
    assert nonces.offered == []


def test_an_old_nonce_is_accepted_with_an_offer_of_the_new_one_and_then_refused(nonces: Device, clock: Clock) -> None:
    assert nonces.dpop is not None
    token, nonce = nonces.token(), nonces.dpop.nonce()
    clock.seconds += NONCE_SECONDS
    assert nonces.send(token, nonces.proof(token, nonce=nonce))
    assert nonces.offered == [nonces.dpop.nonce()]
    clock.seconds += NONCE_SECONDS
    assert nonces.refusal(token, nonces.proof(token, nonce=nonce)) == (UseDPoPNonce, Reason.PROOF_NONCE)


def test_a_framework_need_not_offer_nonces(nonces: Device, clock: Clock) -> None:
    assert nonces.dpop is not None
    token, nonce = nonces.token(), nonces.dpop.nonce()
    clock.seconds += NONCE_SECONDS
    made = nonces.proof(token, nonce=nonce)
    request = UnverifiedRequest("GET", URL, {"DPoP": made}.get)
    sender = Sender(request=lambda: request, dpop=nonces.dpop)
    assert nonces.verifier.authenticate(f"DPoP {token}", sender=sender)


def test_every_process_accepts_what_another_one_gave(nonces: Device, clock: Clock) -> None:
    token = nonces.token()
    other = DPoP(now=clock, nonce_secret=SECRET)
    assert nonces.send(token, nonces.proof(token, nonce=other.nonce()))
    stranger = DPoP(now=clock, nonce_secret=SECRET[::-1])
    assert nonces.refusal(token, nonces.proof(token, nonce=stranger.nonce())) == (UseDPoPNonce, Reason.PROOF_NONCE)


def test_without_a_secret_a_nonce_says_nothing(device: Device) -> None:
    token = device.token()
    assert device.send(token, device.proof(token, nonce="of another API"))
    assert device.dpop is not None
    assert device.dpop.nonce() is None


# --- The object -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"algorithms": ()},
        {"algorithms": ["ES256"]},
        {"algorithms": ("HS256",)},
        {"algorithms": "ES256"},
        {"window_seconds": 0},
        {"window_seconds": 601},
        {"window_seconds": True},
        {"window_seconds": 1.5},
        {"nonce_secret": b"s" * 31},
        {"nonce_secret": "s" * 32},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        DPoP(**arguments)
    assert len(caught.value.mistakes) == 1
    assert next(iter(arguments)) in caught.value.mistakes[0]


@pytest.mark.parametrize("seconds", [1, 600])
def test_the_window_has_from_one_second_to_ten_minutes(seconds: int) -> None:
    assert DPoP(window_seconds=seconds).window_seconds == seconds


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(DPoP(nonce_secret=SECRET))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda dpop: pickle.loads(pickle.dumps(dpop))])
def test_it_can_be_copied_and_pickled(copied: Callable[[DPoP], DPoP]) -> None:
    dpop = DPoP(required=True, algorithms=("ES256",), window_seconds=5, nonce_secret=SECRET)
    other = copied(dpop)
    assert (other.required, other.algorithms, other.window_seconds) == (True, ("ES256",), 5)
    assert other.nonce() == dpop.nonce()


def test_a_forked_process_can_use_it_while_a_thread_of_its_parent_holds_the_lock(device: Device) -> None:
    token = device.token()
    made = device.proof(token)
    assert device.dpop is not None
    with device.dpop._replays._lock:  # type: ignore[attr-defined]
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # its default action ends a child that hangs
            status = 1
            try:
                status = 0 if device.send(token, made) else 1
            finally:
                os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_forked_process_keeps_the_memory_that_it_was_given(clock: Clock) -> None:
    class Replays:
        def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
            return False

    replays = Replays()
    dpop = DPoP(now=clock, replays=replays)
    child = os.fork()
    if child == 0:
        # Otherwise the child would not know the proofs that other processes have accepted.
        os._exit(0 if dpop._replays is replays else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_after_it_is_gone_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    DPoP()
    gc.collect()
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    child = os.fork()
    if child == 0:
        os._exit(1 if raised else 0)
    assert os.waitpid(child, 0)[1] == 0


def test_an_outage_of_the_memory_is_no_verdict(clock: Clock) -> None:
    class Replays:
        def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
            raise ReplaysUnavailable(2)

    device = Device(DPoP(now=clock, replays=Replays()), clock)
    token = device.token()
    with pytest.raises(ReplaysUnavailable) as caught:
        device.send(token, device.proof(token))
    headers = caught.value.headers(realm="r", dpop=device.dpop)
    assert headers == {"Cache-Control": "no-store", "Retry-After": "2"}
    assert device.events.outcomes == ["replays_unavailable None"]


# --- Agreement --------------------------------------------------------------------------------------------------------


def test_the_example_of_rfc_7638() -> None:
    # §3.1 has this key and this thumbprint.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
        "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5h"
        "ajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    header = json.dumps({"typ": "dpop+jwt", "alg": "RS256", "jwk": jwk})
    found = read_key(b64(header.encode()).encode(), ALGORITHMS)
    assert found.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


_members = st.dictionaries(
    st.sampled_from(["typ", "alg", "kid", "crit", "b64", "x"]),
    st.sampled_from(["dpop+jwt", "DPOP+jwt", "JWT", "ES256", "RS256", "none", 1, None, ["b64"]]),
    max_size=2,
)
_claims = st.dictionaries(
    st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "exp"]),
    st.sampled_from(["x", "GET", URL, f"{URL}?a", NOW, NOW - 60, "", None, 1.5, True, ["GET"]]),
    max_size=2,
)


# joserfc names the newer name Ed25519 in a warning; devices still send this one.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@same_each_time
@given(key=st.sampled_from([DEVICE, ED_DEVICE, RSA_DEVICE]), members=_members, changes=_claims, is_cut=st.booleans())
def test_what_we_accept_pyjwt_and_joserfc_verify_too(
    key: SigningKey, members: dict[str, Any], changes: dict[str, Any], *, is_cut: bool
) -> None:
    clock = Clock()
    device = Device(DPoP(now=clock), clock)
    token = device.token(key)
    made = device.proof(token, key, header=members, **changes)
    if is_cut:
        made = made[:-2]
    try:
        device.send(token, made)
    except AuthError:
        return
    unverified_header = jwt.get_unverified_header(made)
    claims_read = jwt.decode(
        made, jwt.PyJWK(public_jwk(key), key.algorithm), algorithms=[key.algorithm], options={"verify_iat": False}
    )
    reference = JWKRegistry.import_key(public_jwk(key))
    registry = jws.JWSRegistry(algorithms=[key.algorithm], strict_check_header=False)
    registry.max_header_length = 8_000
    jws.deserialize_compact(made, reference, registry=registry)
    assert unverified_header["typ"].lower() == "dpop+jwt"
    assert unverified_header["jwk"] == public_jwk(key)
    assert (claims_read["htm"], claims_read["htu"].partition("?")[0], claims_read["ath"]) == ("GET", URL, ath(token))
    assert abs(claims_read["iat"] - NOW) <= 60
