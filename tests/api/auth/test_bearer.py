import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.errors import InvalidRequest, MissingCredentials
from api.auth.reasons import Reason
from api.auth.unverified_token import bearer_token, dpop_token, has_dpop_scheme, has_token_parameter, is_b64token


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


@given(st.text(max_size=5) | st.text("aZ09-._~+/=", max_size=8) | st.text("a=\n \x00é\ud800", max_size=4))
def test_the_form_of_a_token_is_that_of_the_rfc(text: str) -> None:
    assert is_b64token(text) is (re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", text) is not None)


@pytest.mark.parametrize("number", range(256))
def test_which_characters_a_token_has(number: int) -> None:
    assert is_b64token(f"a{chr(number)}a") is (chr(number) in "-._~+/" or (number < 128 and chr(number).isalnum()))


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
        'Digest a="x", b=", Bearer y", c="z"',
        'Digest a="x\\\\\\", Bearer y", c="z"',
        'Digest a="x\\\\", b=", Bearer y"',
        'Digest a="x"bearer y,',
        "Basic abc, Bearers def",
        "Basic abc Bearer def",
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
        "bearer,abc",
        "BEARER\tabc",
        "Basic abc,BEARER",
        "Basic abc,bearer,",
        "Basic abc, \tBearer\tdef",
        'Digest a="x", b="y", Bearer z',
        'Digest a="x", b="y, Bearer z',
        'Digest a,"x"Bearer y',
        'Digest a="x",bearer"y"',
        "Basic a,\\\\Bearer b",
        'Basic a,\\"Bearer b',
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


ENCODED = "".join(f"%{ord(character):02x}" for character in "access_token")


@pytest.mark.parametrize(
    "query",
    [
        "access_token=x",
        "access_token=",
        "access_token",
        "access_token&a=b",
        "a=b&access_token=x",
        "a=b&&access_token",
        "=&access_token=x&a=b",
        f"{ENCODED}=x",
        f"{ENCODED.upper()}=x",
        "access%5Ftoken=x",
        "acce%73s_token=x",
        "\ud800=\u00e9&access_token=x",
    ],
)
def test_a_token_in_the_query_too_is_an_invalid_request(query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bearer_token("Bearer abc", query)
    assert caught.value.reason is Reason.SEVERAL_METHODS
    for authorization in (None, "Basic abc"):  # RFC 6750 §2.3: we take no token from a query
        with pytest.raises(MissingCredentials):
            bearer_token(authorization, query)
    with pytest.raises(InvalidRequest) as caught:
        bearer_token("Bearer a b", query)
    assert caught.value.reason is Reason.HEADER_MALFORMED
    assert has_token_parameter(query.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=b",
        "a=access_token",
        "access_tokens=x",
        "xaccess_token=x",
        "Access_Token=x",
        "%41ccess_token=x",
        "access_token%3Dx",
        "access-token=x",
        "a=b;access_token=x",
        "access_toke=x",
        "\ud800",
    ],
)
def test_another_query_is_none_of_our_business(query: str) -> None:
    assert bearer_token("Bearer abc", query) == "abc"
    assert not has_token_parameter(query.encode("utf-8", "replace"))


def test_the_refusal_without_a_header_is_that_of_no_credentials() -> None:
    with pytest.raises(MissingCredentials) as caught:
        bearer_token(None)
    assert (caught.value.reason, caught.value.required) == (Reason.NO_CREDENTIALS, ())


@pytest.mark.parametrize("header", ["a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl", "-_9.A-_.z", f"{'a' * 4000}.b.c"])
def test_a_token_without_a_scheme_is_told_as_such(header: str) -> None:
    with pytest.raises(MissingCredentials) as caught:
        bearer_token(header)
    assert (caught.value.reason, caught.value.error) == (Reason.SCHEME_MISSING, None)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "a",
        "a.b",
        "a.b.",
        ".b.c",
        "a..c",
        "a.b.c.d",
        "a.b.c=",
        "a.b.c d",
        "Token a.b.c",
        "a.b.c,d",
        "é.b.c",
        "a.b.c\n",
    ],
)
def test_what_does_not_look_like_a_token_is_another_scheme(header: str) -> None:
    with pytest.raises(MissingCredentials) as caught:
        bearer_token(header)
    assert caught.value.reason is Reason.NO_CREDENTIALS


# The scheme DPoP (RFC 9449 §7.1)


@pytest.mark.parametrize("authorization", ["DPoP abc", "dpop abc", "DPOP   abc"])
def test_the_token_of_the_scheme_dpop(authorization: str) -> None:
    assert has_dpop_scheme(authorization)
    assert dpop_token(authorization) == "abc"


@pytest.mark.parametrize("authorization", [None, "", "Bearer abc", "DPoPs abc", "DPoP-x abc", "Basic DPoP", " DPoP a"])
def test_another_scheme_than_dpop(authorization: str | None) -> None:
    assert not has_dpop_scheme(authorization)


@pytest.mark.parametrize(
    "authorization", ["DPoP", "DPoP ", "DPoP a b", "DPoP a,DPoP b", "DPoP a, Bearer b", "DPoP =", "DPoP \xe4"]
)
def test_a_malformed_header_of_the_scheme_dpop(authorization: str) -> None:
    assert has_dpop_scheme(authorization)
    with pytest.raises(InvalidRequest) as caught:
        dpop_token(authorization)
    assert caught.value.reason is Reason.DPOP_HEADER_MALFORMED


def test_a_token_by_dpop_and_in_the_query() -> None:
    assert dpop_token("DPoP abc", "a=b") == "abc"
    with pytest.raises(InvalidRequest) as caught:
        dpop_token("DPoP abc", "a=b&access_token=c")
    assert caught.value.reason is Reason.SEVERAL_METHODS
