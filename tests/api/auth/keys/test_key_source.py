import json
import time

import pytest

from api.auth.config import TrustedIssuer
from api.auth.keys.discovery import DiscoveryError
from api.auth.keys.fetch import Fetched, FetchError
from api.auth.keys.key_source import KeySource
from tests.kit.signing import jwks, rsa_key

ISSUER = "https://issuer.example"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
OAUTH = f"{ISSUER}/.well-known/oauth-authorization-server"
KEYS = f"{ISSUER}/keys"


def metadata(issuer: str = ISSUER) -> bytes:
    return json.dumps({"issuer": issuer, "jwks_uri": KEYS}).encode()


class Documents:
    """Serves documents by address, and records what was asked for."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self.documents = documents
        self.asked: list[str] = []
        self.limits: list[float] = []

    def fetch(self, url: str, timeout_seconds: float) -> Fetched:
        self.asked.append(url)
        self.limits.append(timeout_seconds)
        if url not in self.documents:
            raise FetchError("the status is not 200")
        return Fetched(self.documents[url], 90)

    def source(self, jwks_url: str | None = None) -> KeySource:
        issuer = TrustedIssuer(identifier=ISSUER, audiences=("a",), jwks_url=jwks_url)
        return KeySource(issuer, ("RS256",), self.fetch)


def test_a_configured_address_is_not_discovered() -> None:
    documents = Documents({KEYS: jwks(rsa_key(0))})
    keys, max_age_seconds = documents.source(KEYS).fetch_key_set(time.monotonic() + 3)
    assert (len(keys), max_age_seconds) == (1, 90)
    assert documents.asked == [KEYS]
    assert 2 < documents.limits[0] <= 3


@pytest.mark.parametrize("first", [None, b"<html>", metadata("https://other.example")])
def test_the_second_address_is_asked_if_the_first_document_is_not_to_be_trusted(first: bytes | None) -> None:
    documents = Documents({OAUTH: metadata(), KEYS: jwks(rsa_key(0))})
    if first is not None:
        documents.documents[OPENID] = first
    keys, _ = documents.source().fetch_key_set(time.monotonic() + 3)
    assert len(keys) == 1
    assert documents.asked == [OPENID, OAUTH, KEYS]


@pytest.mark.parametrize(
    ("documents", "cause"),
    [
        ({}, "the status is not 200"),
        ({OPENID: b"<html>"}, "the metadata is not a JSON object"),
        ({OAUTH: b"<html>"}, "the metadata is not a JSON object"),
        ({OPENID: metadata(f"{ISSUER}/")}, f"the issuer's metadata names {ISSUER}/ (with a final slash)"),
        (
            {OPENID: metadata(f"{ISSUER}/"), OAUTH: b"<html>"},
            f"the issuer's metadata names {ISSUER}/ (with a final slash)",
        ),
    ],
)
def test_the_cause_is_what_is_wrong_with_a_document_rather_than_that_the_other_is_missing(
    documents: dict[str, bytes], cause: str
) -> None:
    served = Documents(documents)
    with pytest.raises(DiscoveryError) as caught:
        served.source().fetch_key_set(time.monotonic() + 3)
    assert str(caught.value) == f"discovery: {cause}"
    # What it names is never fetched.
    assert served.asked == [OPENID, OAUTH]


@pytest.mark.parametrize("jwks_url", [KEYS, None])
def test_nothing_is_fetched_after_the_deadline(jwks_url: str | None) -> None:
    documents = Documents({OPENID: metadata(), KEYS: jwks(rsa_key(0))})
    with pytest.raises((FetchError, DiscoveryError), match="timed out"):
        documents.source(jwks_url).fetch_key_set(time.monotonic())
    assert documents.asked == []
