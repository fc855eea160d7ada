from api.auth import TrustedIssuer
from api.auth.claims import read_claims
from api.auth.keys.key_set import parse_key_set
from api.auth.token_cache import TokenCache
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEYS = parse_key_set(jwks(rsa_key(0)), ["RS256"])
TOKEN = read_claims(claims(), b"{}", TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,)))
VERIFIED = (TOKEN, ("RS256", "key-1"), KEYS)


def test_the_least_recently_used_is_removed_first() -> None:
    cache = TokenCache(2)
    first, second, third = (cache.key(text) for text in ("a.b.c", "d.e.f", "g.h.i"))
    cache.put(first, VERIFIED)
    cache.put(second, VERIFIED)
    assert cache.get(first) is not None
    cache.put(third, VERIFIED)
    assert cache.get(second) is None
    assert cache.get(first) == cache.get(third) == VERIFIED


def test_removing_twice_is_no_error() -> None:
    cache = TokenCache(2)
    key = cache.key("a.b.c")
    cache.put(key, VERIFIED)
    cache.remove(key)
    cache.remove(key)
    assert cache.get(key) is None


def test_tokens_themselves_are_not_kept() -> None:
    assert len(TokenCache.key("a.b.c" * 100)) == 32
    assert TokenCache.key("a.b.c") != TokenCache.key("a.b.C")
