from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import jwt
import pytest
from joserfc.jwk import import_key

from device_app.model.proof_key import ProofKey
from tests.kit.proofs import ath

URL = "https://api.example/v1/devices"


def read(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a proof with PyJWT and the key in its header; return header and claims."""
    header = jwt.get_unverified_header(proof)
    key = jwt.PyJWK(header["jwk"], algorithm="ES256")
    return header, jwt.decode(proof, key, algorithms=["ES256"], options={"verify_iat": False})


def test_a_proof_says_what_rfc_9449_asks_for() -> None:
    key = ProofKey.generate()
    header, claims = read(key.proof("GET", f"{URL}?limit=1#x", now=1234.9, access_token="a token", nonce="n"))
    assert header == {"typ": "dpop+jwt", "alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y}}
    assert len(claims.pop("jti")) >= 16
    assert claims == {"htm": "GET", "htu": URL, "iat": 1234, "ath": ath("a token"), "nonce": "n"}
    assert import_key(header["jwk"]).thumbprint() == key.thumbprint


def test_each_proof_is_new_and_says_no_more_than_it_must() -> None:
    key = ProofKey.generate()
    proofs = [read(key.proof("POST", URL, now=0, access_token=None, nonce=None))[1] for _ in range(2)]
    assert [proof.keys() for proof in proofs] == [{"jti", "htm", "htu", "iat"}] * 2
    assert proofs[0]["jti"] != proofs[1]["jti"]


def test_a_key_is_new_each_time_and_does_not_show_itself() -> None:
    one, other = ProofKey.generate(), ProofKey.generate()
    assert one.d != other.d
    assert one.d not in repr(one)


@pytest.mark.parametrize("changes", [{"x": 5}, {"y": ""}, {"d": None}, {"d": "x" * 42}, {"x": "é" * 43}])
def test_a_stored_value_that_is_no_key_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not those of P-256"):
        dataclasses.replace(ProofKey.generate(), **changes)


@pytest.mark.slow
def test_commands_without_a_key_do_not_import_the_library() -> None:
    program = "import sys, device_app.cli; print('joserfc' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "False\n"
