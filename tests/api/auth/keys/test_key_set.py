import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.config import KEY_KINDS
from api.auth.keys.key_set import KeySetError, parse_key_set
from tests.kit.signing import SigningKey, b64, ec_key, ed25519_key, jwks, rsa_key

GOOD = rsa_key(0, "good")


def usable(*entries: SigningKey | Any, algorithms: tuple[str, ...] = ("RS256",)) -> int:
    """Return how many of the entries are usable, beside one that is."""
    return len(parse_key_set(jwks(GOOD, *entries), algorithms)) - 1


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def test_finds_a_key_by_its_id_and_algorithm() -> None:
    keys = parse_key_set(jwks(rsa_key(0, "a"), rsa_key(1, "b")), ["RS256"])
    found = keys.find(("RS256", "b"))
    assert found is not None
    assert found.kid == "b"
    assert keys.find(("RS256", "c")) is None
    assert keys.find(("RS512", "b")) is None
    assert keys.find(("RS256", "B")) is None


def test_a_token_without_key_id_needs_a_set_of_one() -> None:
    alone = parse_key_set(jwks(rsa_key(0, "a")), ["RS256"])
    assert alone.find(("RS256", None)) is not None
    assert alone.find(("RS512", None)) is None
    assert parse_key_set(jwks(rsa_key(0, None)), ["RS256"]).find(("RS256", None)) is not None
    assert parse_key_set(jwks(rsa_key(0, "a"), rsa_key(1, "b")), ["RS256"]).find(("RS256", None)) is None
    assert parse_key_set(jwks(rsa_key(0, None), rsa_key(1, "b")), ["RS256"]).find(("RS256", None)) is None


def test_unusable_keys_do_not_count_as_a_second_one() -> None:
    keys = parse_key_set(jwks(rsa_key(0, "a"), rsa_key(1, "b").jwk(use="enc"), ec_key()), ["RS256"])
    assert keys.find(("RS256", None)) is not None


def test_a_duplicate_key_id_finds_neither_key() -> None:
    keys = parse_key_set(jwks(rsa_key(0, "same"), rsa_key(1, "same"), rsa_key(2, "other")), ["RS256"])
    assert keys.find(("RS256", "same")) is None
    assert keys.find(("RS256", "other")) is not None


def test_a_triple_key_id_finds_no_key() -> None:
    keys = parse_key_set(jwks(rsa_key(0, "same"), rsa_key(1, "same"), rsa_key(2, "same")), ["RS256"])
    assert keys.find(("RS256", "same")) is None


def test_keys_of_two_kinds_may_share_an_id() -> None:
    keys = parse_key_set(jwks(rsa_key(0, "same"), ec_key("same")), ["RS256", "ES256"])
    rsa, ec = keys.find(("RS256", "same")), keys.find(("ES256", "same"))
    assert rsa is not None
    assert ec is not None
    assert rsa is not ec


@pytest.mark.parametrize("algorithm", KEY_KINDS)
def test_every_algorithm_verifies_with_a_key_of_its_own_kind(algorithm: str) -> None:
    key = {"ES256": ec_key("k"), "EdDSA": ed25519_key("k")}.get(algorithm, rsa_key(0, "k", algorithm))
    header, payload, signature = key.sign({"a": 1}).split(".")
    found = parse_key_set(jwks(key), [algorithm]).find((algorithm, "k"))
    assert found is not None
    raw = __import__("base64").urlsafe_b64decode(signature + "==")
    assert found.verifies(f"{header}.{payload}".encode(), raw)
    assert not found.verifies(f"{header}.{payload}x".encode(), raw)
    assert not found.verifies(f"{header}.{payload}".encode(), raw[:-1])
    assert not found.verifies(f"{header}.{payload}".encode(), b"")


def test_a_key_without_alg_serves_every_allowed_algorithm_of_its_kind() -> None:
    keys = parse_key_set(jwks(GOOD.jwk(alg=None)), ["RS256", "PS256", "ES256"])
    assert keys.find(("RS256", "good")) is not None
    assert keys.find(("PS256", "good")) is not None
    assert keys.find(("ES256", "good")) is None


@pytest.mark.parametrize(
    "members",
    [
        {"use": None},
        {"alg": None},
        {"use": None, "alg": None, "key_ops": ["verify"]},
        {"key_ops": ["encrypt", "verify"]},
        {"x5c": ["AAAA"], "x5t": "x", "something": {"new": []}},
        {"crv": "P-256"},  # not a member of RSA keys, so ignored
    ],
)
def test_usable(members: dict[str, Any]) -> None:
    assert usable(rsa_key(1, "other").jwk(**members)) == 1


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": []},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "RSA-OAEP"},
        {"alg": ["RS256"]},
        {"alg": 1},
        {"kty": "EC"},
        {"kty": "rsa"},
        {"kty": None},
        {"kty": ["RSA"]},
        {"kid": 1},
        {"kid": ["x"]},
        {"n": None},
        {"n": ""},
        {"n": 5},
        {"n": "!!!"},
        {"n": "A" * 100_000},
        {"e": None},
        {"e": ""},
        {"e": number(3)},
        {"e": number(65536)},
        {"e": number(65539 - 4)},  # 65535: odd and too small
        {"d": "AQAB"},
        {"k": "AQAB"},
        {"p": "AQAB"},
    ],
)
def test_one_bad_entry_is_ignored(members: dict[str, Any]) -> None:
    entry = {**rsa_key(1, "other").jwk(), **members}
    assert usable({name: value for name, value in entry.items() if value is not None}) == 0


@pytest.mark.parametrize(
    "entry", [None, 1, "key", [], {}, {"kty": "oct", "k": "AAAA"}, {"kty": "AKP", "alg": "ML-DSA-65"}]
)
def test_entries_that_are_no_keys_are_ignored(entry: Any) -> None:
    assert usable(entry) == 0


@pytest.mark.parametrize(("bits", "is_usable"), [(1024, 0), (2047, 0), (2048, 1), (8192, 1), (8193, 0), (8400, 0)])
def test_how_long_an_rsa_key_may_be(bits: int, is_usable: int) -> None:
    assert usable(rsa_key(1, "other").jwk(n=number((1 << bits - 1) + 1))) == is_usable


PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]


@pytest.mark.parametrize("member", PRIVATE_MEMBERS)
def test_a_published_private_key_is_ignored_and_told(member: str) -> None:
    leaked = rsa_key(1, "leaked").jwk(**{member: "AQAB"})
    assert usable(leaked) == 0
    assert parse_key_set(jwks(GOOD, leaked), ["RS256"]).has_private_key


def test_curves_must_be_the_algorithms_own() -> None:
    assert usable(ec_key().jwk(crv="P-384"), algorithms=("RS256", "ES256")) == 0
    assert usable(ec_key().jwk(crv="secp256k1"), algorithms=("RS256", "ES256")) == 0
    assert usable(ed25519_key().jwk(crv="Ed448"), algorithms=("RS256", "EdDSA")) == 0
    assert usable(ec_key().jwk(x="AAAA"), algorithms=("RS256", "ES256")) == 0
    assert usable(ec_key(), ed25519_key(), algorithms=("RS256", "ES256", "EdDSA")) == 2


@pytest.mark.parametrize("value", [5, True, ["AQAB"], {"AQAB": 1}, None, "é", "!!!", "A"])
def test_a_coordinate_that_is_no_number_spoils_its_own_entry_alone(value: Any) -> None:
    entries = [{**ec_key().jwk(), "x": value}, {**ec_key().jwk(), "y": value}, {**ed25519_key().jwk(), "x": value}]
    assert usable(*entries, algorithms=("RS256", "ES256", "EdDSA")) == 0


@pytest.mark.parametrize(("depth", "is_read"), [(10, True), (11, False)])
def test_how_deep_a_set_may_be_nested(depth: int, *, is_read: bool) -> None:
    document = f'{{"keys":[],"extension":{"[" * (depth - 1)}{"]" * (depth - 1)}}}'.encode()
    if is_read:
        assert len(parse_key_set(document, ["RS256"])) == 0
    else:
        with pytest.raises(KeySetError):
            parse_key_set(document, ["RS256"])


def test_a_set_may_have_a_hundred_keys() -> None:
    assert usable(*[{}] * 99) == 0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        json.dumps({"keys": [GOOD.jwk()] * 101}).encode(),
    ],
)
def test_documents_that_are_no_key_sets_are_errors(document: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(document, ["RS256"])


@pytest.mark.parametrize("document", [b'{"keys":[]}', b'{"keys":[null]}', jwks(GOOD.jwk(use="enc")), jwks(ec_key())])
def test_a_key_set_without_a_usable_key_is_an_empty_one(document: bytes) -> None:
    keys = parse_key_set(document, ["RS256"])
    assert len(keys) == 0
    assert keys.find(("RS256", "good")) is None
    assert keys.find(("RS256", None)) is None


@pytest.mark.parametrize(
    ("entry", "is_private"),
    [
        (rsa_key(1, "leaked").jwk(d="AQAB", p="AQAB"), True),
        (rsa_key(1, "leaked").jwk(use="enc", dp="AQAB"), True),
        (ec_key().jwk(d="AQAB"), True),
        ({"kty": "oct", "k": "AAAA"}, True),
        (rsa_key(1, "public"), False),
        ({**rsa_key(1, "public").jwk(), "d": None, "oth": [], "k": ""}, False),
        (["d", "k"], False),
        (None, False),
    ],
)
def test_tells_that_a_key_set_holds_a_private_or_symmetric_key(entry: Any, *, is_private: bool) -> None:
    keys = parse_key_set(jwks(GOOD, entry), ["RS256"])
    assert keys.has_private_key == is_private
    assert keys.find(("RS256", "good")) is not None


def test_equal_documents_have_equal_fingerprints() -> None:
    first, again = (parse_key_set(jwks(GOOD), ["RS256"]) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != parse_key_set(jwks(GOOD, rsa_key(1, "b")), ["RS256"]).fingerprint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y"]), JSON))
def test_no_entry_spoils_the_set(changes: dict[str, Any]) -> None:
    keys = parse_key_set(jwks(GOOD, {**rsa_key(1, "other").jwk(), **changes}), tuple(KEY_KINDS))
    assert keys.find(("RS256", "good")) is not None or changes.get("kid") == "good"
