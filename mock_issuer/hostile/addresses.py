"""Requests whose token names an address of the attacker, as its issuer or for its key (RFC 8725 §3.8 and §3.10)."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from mock_issuer.hostile import attacker
from mock_issuer.hostile.request import INVALID_TOKEN, HostileRequest, bearer
from mock_issuer.hostile.tokens import base64url, encode_json

_FOREIGN = "iss must equal a trusted issuer exactly, RFC 9068 §4; the keys must be that issuer's, RFC 8725 §3.8."
_FOREIGN_KEY = "The issuer's published keys count, RFC 9068 §4, not the address in the header, RFC 8725 §3.10."
_ATTACKERS_KID = attacker.ATTACKERS_KID


def address_requests(good: HostileRequest, open_port: Callable[[str], int]) -> Iterator[HostileRequest]:
    """Yield the requests; each token is the valid one with an address and the attacker's signature.

    Args:
        good: the request with a valid token.
        open_port: takes a request's name and returns the port on 127.0.0.1 of a server that serves the attacker's key
            to it alone.
    """
    header, claims = decode_good_token(good)
    issuer = str(claims["iss"])
    slash = "/" if issuer.endswith("/") else ""
    # A check of the start of an address takes this for the issuer's: the part before @ is a user name.
    lookalike = f"{urlsplit(issuer).scheme}://{urlsplit(issuer).netloc}@127.0.0.1"

    def request(name: str, why: str, header_changes: dict[str, Any], claim_changes: dict[str, Any]) -> HostileRequest:
        parts = (header | {"kid": _ATTACKERS_KID} | header_changes, claims | claim_changes)
        signing_input = ".".join(base64url(encode_json(part)) for part in parts)
        signature = base64url(attacker.sign_rs256(signing_input.encode()))
        return bearer(name, INVALID_TOKEN, why, f"{signing_input}.{signature}")

    for name, start in (
        ("attackers-issuer", "http://127.0.0.1"),
        ("attackers-issuer-https", "https://127.0.0.1"),
        ("attackers-issuer-lookalike", lookalike),
    ):
        yield request(name, _FOREIGN, {}, {"iss": f"{start}:{open_port(name)}{slash}"})
    for name, parameter, start, path, kid in (
        ("attackers-jku-served", "jku", "http://127.0.0.1", "jwks.json", _ATTACKERS_KID),
        ("attackers-jku-served-with-good-kid", "jku", "http://127.0.0.1", "jwks.json", header.get("kid")),
        ("attackers-jku-https", "jku", "https://127.0.0.1", "jwks.json", _ATTACKERS_KID),
        ("attackers-jku-lookalike", "jku", lookalike, "jwks.json", _ATTACKERS_KID),
        ("attackers-x5u-served", "x5u", "http://127.0.0.1", "certificate.pem", header.get("kid")),
        ("attackers-x5u-https", "x5u", "https://127.0.0.1", "certificate.pem", header.get("kid")),
    ):
        yield request(name, _FOREIGN_KEY, {parameter: f"{start}:{open_port(name)}/{path}", "kid": kid}, {})
    name = "attackers-kid-url-served"
    yield request(name, _FOREIGN_KEY, {"kid": f"http://127.0.0.1:{open_port(name)}/jwks.json"}, {})


def decode_good_token(good: HostileRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of the valid token; its signature is not checked.

    Raises ValueError, KeyError or IndexError if it is not a JWT with an issuer.
    """
    segments = good.headers[0][1].removeprefix("Bearer ").split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(f"{segment}==")) for segment in segments[:2])
    if not isinstance(header, dict) or not isinstance(claims, dict) or not isinstance(claims["iss"], str):
        raise ValueError("The good token has no header or no issuer.")  # noqa: TRY004  # of a JSON value
    return header, claims
