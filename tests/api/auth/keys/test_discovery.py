import json

import pytest

from api.auth.keys.discovery import DiscoveryError, metadata_urls, read_address
from api.auth.keys.fetch import Fetched

ISSUER = "https://issuer.example/tenant/"


def metadata(**members: object) -> Fetched:
    return Fetched(json.dumps({"issuer": ISSUER, "jwks_uri": "https://keys.example/jwks", **members}).encode(), None)


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://issuer.example",
            [
                "https://issuer.example/.well-known/openid-configuration",
                "https://issuer.example/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "https://issuer.example:8443/tenant/",
            [
                "https://issuer.example:8443/tenant/.well-known/openid-configuration",
                "https://issuer.example:8443/.well-known/oauth-authorization-server/tenant",
            ],
        ),
    ],
)
def test_where_metadata_stands(issuer: str, urls: list[str]) -> None:
    assert list(metadata_urls(issuer)) == urls


def test_reads_the_address_of_the_keys() -> None:
    assert read_address(metadata(), ISSUER, "jwks_uri") == "https://keys.example/jwks"
    assert (
        read_address(metadata(jwks_uri="http://127.0.0.1:9000/jwks"), ISSUER, "jwks_uri")
        == "http://127.0.0.1:9000/jwks"
    )


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "https://issuer.example/tenant"},
        {"issuer": "https://issuer.example/TENANT/"},
        {"issuer": None},
        {"issuer": [ISSUER]},
        {"jwks_uri": None},
        {"jwks_uri": ["https://keys.example/jwks"]},
        {"jwks_uri": "http://keys.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "//keys.example/jwks"},
        {"jwks_uri": ""},
    ],
)
def test_refuses_metadata_that_cannot_be_trusted(members: dict[str, object]) -> None:
    with pytest.raises(DiscoveryError):
        read_address(metadata(**members), ISSUER, "jwks_uri")


@pytest.mark.parametrize(
    ("named", "configured", "cause"),
    [
        (
            "https://tenant.example/",
            "https://tenant.example",
            "the issuer's metadata names https://tenant.example/ (with a final slash)",
        ),
        (
            "https://tenant.example",
            "https://tenant.example/",
            "the issuer's metadata names https://tenant.example (without a final slash)",
        ),
        (
            "https://tenant.example/",
            "https://tenant.example//",
            "the issuer's metadata names https://tenant.example/ (without a final slash)",
        ),
        (
            "https://tenant.example//",
            "https://tenant.example",
            "the metadata names another issuer, https://tenant.example//",
        ),
        ("https://other.example/", ISSUER, "the metadata names another issuer, https://other.example/"),
        ("https://user:s3cret@other.example", ISSUER, "the metadata names another issuer, https://***@other.example"),
        (
            "a\n\x1b[31m (with a final slash)é\u202e",
            ISSUER,
            "the metadata names another issuer, a??[31m?(with?a?final?slash)??",
        ),
        ("x" * 200, ISSUER, f"the metadata names another issuer, {'x' * 200}"),
        ("x" * 100_000, ISSUER, f"the metadata names another issuer, {'x' * 200}..."),
        ("", ISSUER, "the metadata names no issuer"),
        (None, ISSUER, "the metadata names no issuer"),
        ([ISSUER], ISSUER, "the metadata names no issuer"),
    ],
)
def test_says_which_issuer_the_metadata_names(named: object, configured: str, cause: str) -> None:
    with pytest.raises(DiscoveryError) as caught:
        read_address(metadata(issuer=named), configured, "jwks_uri")
    assert str(caught.value) == cause


@pytest.mark.parametrize(("depth", "is_read"), [(10, True), (11, False)])
def test_how_deep_metadata_may_be_nested(depth: int, *, is_read: bool) -> None:
    members = f'"issuer":"{ISSUER}","jwks_uri":"https://keys.example/jwks","extension":'
    document = Fetched(f"{{{members}{'[' * (depth - 1)}{']' * (depth - 1)}}}".encode(), None)
    if is_read:
        assert read_address(document, ISSUER, "jwks_uri") == "https://keys.example/jwks"
    else:
        with pytest.raises(DiscoveryError):
            read_address(document, ISSUER, "jwks_uri")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"issuer":"a","issuer":"b"}', b"\xff"])
def test_refuses_what_is_no_json_object(body: bytes) -> None:
    with pytest.raises(DiscoveryError):
        read_address(Fetched(body, None), ISSUER, "jwks_uri")
