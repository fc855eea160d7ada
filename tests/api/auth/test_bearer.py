import pytest

from api.auth.errors import InvalidRequest, MissingCredentials, Reason
from api.auth.unverified_token import bearer_token


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("BeArEr abc", "abc"),
        ("Bearer   abc", "abc"),  # RFC 6750 §2.1: 1*SP
        ("Bearer aZ09-._~+/==", "aZ09-._~+/=="),
        ("Bearer " + "a" * 9_000, "a" * 9_000),  # split() checks the length
    ],
)
def test_takes_a_well_formed_header(authorization: str, token: str) -> None:
    assert bearer_token(authorization) == token


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic dXNlcjpwYXNz",
        "Basic",
        "DPoP abc",
        "Bearers abc",
        "BearerToken abc",
        'Digest username="a", realm="b", nonce="c"',
        'Digest username="u, Bearer v", realm="\\\\", nonce="c"',
        'Digest username="u\\", Bearer v", realm="r"',
        "Token abc",
    ],
)
def test_no_bearer_credentials(authorization: str | None) -> None:
    with pytest.raises(MissingCredentials):
        bearer_token(authorization)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer    ",
        "Bearer a b",
        "Bearer abc ",
        "Bearer a,b",
        "Bearer abc,Bearer def",  # two headers, as WSGI servers join them
        "Bearer abc, Bearer def",
        "Basic dXNlcjpwYXNz,Bearer abc",
        "Basic dXNlcjpwYXNz, bearer abc",
        "Bearer,Bearer abc",
        'Digest username="u", Bearer abc',
        'Digest username="u\\\\", Bearer abc',
        'Digest username="u, Bearer abc',  # the quoted string does not end, so it is none
        "Bearer\tabc",
        "Bearer \tabc",
        "Bearer ab=c",
        "Bearer =",
        'Bearer "abc"',
        "Bearer token=abc",
        "Bearer abé",
        "Bearer abc\u00a0",
        "Bearer abc\n",
    ],
)
def test_malformed_headers_are_invalid_requests(authorization: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bearer_token(authorization)
    assert caught.value.reason is Reason.HEADER_MALFORMED
