"""Several issuers that are asked about tokens: each about its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.auth import AuthConfig, Reason, TokenVerifier, TrustedIssuer
from api.auth.introspection import Introspection
from tests.api.auth.introspection.issuer import KEY, NOW, OPAQUE, SECRET, Clock, Issuer, described, refused
from tests.kit.signing import AUDIENCE, claims


@pytest.fixture
def other() -> Iterator[Issuer]:
    with Issuer() as other:
        other.open()
        yield other


def verifier_of(of_opaque: Issuer, of_jwts: Issuer, *, opaque_first: bool = True) -> TokenVerifier:
    issuers = tuple(TrustedIssuer(identifier=one.issuer, audiences=(AUDIENCE,)) for one in (of_opaque, of_jwts))
    asked = (
        Introspection(client_id="api", client_secret=SECRET, issuer=of_opaque.issuer),
        Introspection(client_id="api", client_secret=SECRET, issuer=of_jwts.issuer, tokens="jwt"),
    )
    return TokenVerifier(
        AuthConfig(issuers=issuers),
        introspection=asked if opaque_first else asked[::-1],
        now=Clock(),
        monotonic=Clock(),
    )


@pytest.mark.parametrize("opaque_first", [True, False])
def test_each_is_asked_about_its_own_tokens_alone(issuer: Issuer, other: Issuer, *, opaque_first: bool) -> None:
    verifier = verifier_of(issuer, other, opaque_first=opaque_first)
    of_other = KEY.sign(claims(NOW, iss=other.issuer))
    other.tokens[of_other] = described(other, sub="user-2")
    assert verifier.verify(OPAQUE).subject == "user-1"
    assert verifier.verify(of_other).subject == "user-2"
    # A JWT of the issuer that is asked about opaque tokens is verified by its keys.
    assert verifier.verify(KEY.sign(claims(NOW, iss=issuer.issuer, sub="user-3"))).subject == "user-3"
    assert refused(lambda: verifier.verify(KEY.sign(claims(NOW, iss=other.issuer, jti="2")))) == (Reason.INACTIVE, None)
    assert (issuer.questions, other.questions) == (1, 2)


def test_readiness_asks_all_at_once(issuer: Issuer, other: Issuer) -> None:
    verifier = verifier_of(issuer, other)
    asked = [issuer.hang(), other.hang()]
    with ThreadPoolExecutor(1) as pool:
        readiness = pool.submit(verifier.readiness)
        # Neither has answered when the other is asked.
        assert all(one.acquire(timeout=2) for one in asked)
        issuer.released.set()
        other.released.set()
        assert readiness.result(timeout=10) == {issuer.issuer: True, other.issuer: True}
