import pytest

from api.auth import TrustedIssuer
from api.auth.claims import read_claims
from api.auth.keys.key_set import parse_key_set
from api.auth.token_cache import TokenCache, VerifiedToken
from api.auth.unverified_token import MAX_TOKEN_CHARS
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEYS = parse_key_set(jwks(rsa_key(0)), ["RS256"])
TOKEN = read_claims(claims(), b"{}", TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,)))
VERIFIED = (TOKEN, ("RS256", "key-1"), KEYS)


def find(cache: TokenCache, unverified_token: str) -> VerifiedToken | None:
    key, verified = cache.find(unverified_token)
    assert key == cache.key(unverified_token)
    return verified


def test_the_least_recently_used_is_removed_first() -> None:
    cache = TokenCache(2)
    first, second, third = "a.b.c", "d.e.f", "g.h.i"
    cache.put(cache.key(first), VERIFIED)
    cache.put(cache.key(second), VERIFIED)
    assert find(cache, first) is not None
    cache.put(cache.key(third), VERIFIED)
    assert find(cache, second) is None
    assert find(cache, first) == find(cache, third) == VERIFIED


def test_a_token_that_is_put_again_counts_as_used_and_takes_no_more_room() -> None:
    cache = TokenCache(2)
    first, second, third = "a.b.c", "d.e.f", "g.h.i"
    anew = (TOKEN, ("RS256", "key-2"), KEYS)
    for unverified_token, verified in ((first, VERIFIED), (second, VERIFIED), (first, anew), (third, VERIFIED)):
        cache.put(cache.key(unverified_token), verified)
    assert find(cache, second) is None
    assert find(cache, first) == anew
    assert find(cache, third) == VERIFIED


def test_removing_twice_is_no_error() -> None:
    cache = TokenCache(2)
    key = cache.key("a.b.c")
    cache.put(key, VERIFIED)
    cache.remove(key)
    cache.remove(key)
    assert find(cache, "a.b.c") is None


def test_without_room_no_token_has_a_key() -> None:
    assert TokenCache(0).find("a.b.c") == (None, None)


@pytest.mark.parametrize("unverified_token", ["a" * (MAX_TOKEN_CHARS + 1), "a.b.\xe9", "a.b.\ud800"])
def test_what_cannot_be_a_token_has_no_key(unverified_token: str) -> None:
    assert TokenCache(2).find(unverified_token) == (None, None)


def test_the_longest_token_has_a_key() -> None:
    assert find(TokenCache(2), "a" * MAX_TOKEN_CHARS) is None


def test_tokens_themselves_are_not_kept() -> None:
    assert len(TokenCache.key("a.b.c" * 100)) == 32
    assert TokenCache.key("a.b.c") != TokenCache.key("a.b.C")
