from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mock_issuer.flow.keys import SigningKeys

CLAIMS = {"sub": "x"}


def segment(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_the_published_key_is_public_and_for_rs256_alone() -> None:
    keys = SigningKeys()
    (key,) = keys.jwks()["keys"]
    assert set(key) == {"kty", "n", "e", "use", "alg", "kid"}
    assert (key["kty"], key["use"], key["alg"], key["kid"], key["e"]) == ("RSA", "sig", "RS256", keys.kid, "AQAB")
    assert len(base64.urlsafe_b64decode(key["n"] + "==")) * 8 == 2048


def test_only_a_published_key_verifies() -> None:
    keys, others = SigningKeys(), SigningKeys()
    token = keys.sign(CLAIMS, typ="JWT")
    assert keys.verify(token, typ="JWT") == CLAIMS
    assert others.verify(token, typ="JWT") is None
    assert keys.withdraw() == keys.kid
    assert keys.verify(token, typ="JWT") is None
    assert keys.verify(keys.sign(CLAIMS, typ="JWT"), typ="JWT") is None
    keys.reset()
    assert keys.verify(token, typ="JWT") == CLAIMS


def test_only_this_type_verifies() -> None:
    keys = SigningKeys()
    for typ in ("at+jwt", "jwt", "", None):
        assert keys.verify(keys.sign(CLAIMS, typ="JWT", header={"typ": typ}), typ="JWT") is None


def test_a_header_parameter_of_none_is_left_out() -> None:
    header = SigningKeys().sign(CLAIMS, typ=None, header={"kid": None, "x": 1}).split(".")[0]
    assert header == segment({"alg": "RS256", "x": 1})


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "PS256", None])
def test_only_rs256_verifies(algorithm: str | None) -> None:
    keys = SigningKeys()
    assert keys.verify(keys.sign(CLAIMS, typ="JWT", header={"alg": algorithm}), typ="JWT") is None


def test_an_altered_token_does_not_verify() -> None:
    keys = SigningKeys()
    header, payload, signature = keys.sign(CLAIMS, typ="JWT").split(".")
    for token in (
        f"{header}.{segment({'sub': 'y'})}.{signature}",
        f"{segment({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        "",
    ):
        assert keys.verify(token, typ="JWT") is None


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        ('{"alg":"RS256","typ":"JWT","crit":[5]}', "{}"),
        ('{"alg":"RS256","typ":"JWT"}', "[" * 2_500),
        ('{"alg":"RS256","typ":"JWT"}', "[]"),
        ('{"alg":"RS256","typ":"JWT"}', "no JSON"),
        ("[]", "{}"),
    ],
)
def test_a_signed_token_of_odd_form_does_not_verify(header: str, payload: str) -> None:
    keys = SigningKeys()
    parts = [base64.urlsafe_b64encode(one.encode()).rstrip(b"=") for one in (header, payload)]
    signature = base64.urlsafe_b64encode(keys.sign_raw(b".".join(parts))).rstrip(b"=")
    assert keys.verify(b".".join([*parts, signature]).decode(), typ="JWT") is None


def test_a_rotation_signs_with_the_new_key_and_verifies_with_both() -> None:
    keys = SigningKeys()
    first, old = keys.kid, keys.sign(CLAIMS, typ="JWT")
    second = keys.rotate()
    assert keys.kid == second != first
    assert [key["kid"] for key in keys.jwks()["keys"]] == [first, second]
    new = keys.sign(CLAIMS, typ="JWT")
    assert keys.verify(old, typ="JWT") == keys.verify(new, typ="JWT") == CLAIMS
    assert keys.withdraw("unknown") is None
    assert keys.withdraw(second) == second
    assert keys.verify(old, typ="JWT") == CLAIMS
    assert keys.verify(new, typ="JWT") is None
    keys.reset()
    assert keys.kid == first
    assert [key["kid"] for key in keys.jwks()["keys"]] == [first]
