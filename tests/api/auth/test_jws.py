import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth.errors import InvalidToken
from api.auth.reasons import Reason
from api.auth.unverified_token import decode_segment, is_b64token, parse_header, parse_payload, split
from tests.kit.signing import b64

ALGORITHMS = frozenset({"RS256"})


def header_segment(**header: object) -> bytes:
    return b64(json.dumps(header).encode()).encode()


def refused_header(segment: bytes) -> Reason:
    with pytest.raises(InvalidToken) as caught:
        parse_header(segment, algorithms=ALGORITHMS)
    return caught.value.reason


def test_splits_a_compact_jws() -> None:
    assert split("aGVhZA.cGF5.c2ln") == (b"aGVhZA", b"cGF5", b"aGVhZA.cGF5", b"sig")


@given(st.text(alphabet="aAEIMQUY01-_+/=.~ ,\n\0é", max_size=12))
def test_what_can_be_decoded_has_the_form_of_a_bearer_token(text: str) -> None:
    """TokenVerifier relies on it: it does not check the form of tokens that were verified before."""
    try:
        header_segment, payload_segment, _, _ = split(f"{text}.{text}.{text}")
        decode_segment(header_segment)
        decode_segment(payload_segment)
    except (InvalidToken, ValueError):
        return
    assert is_b64token(text)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "YWFh.YWFh",
        "YWFh.YWFh.YWFh.YWFh",
        ".YWFh.YWFh",
        "YWFh..YWFh",
        "YWFh.YWFh.",
        "YWFh.YWFh.YWF",  # 17 bits: the last one must be zero
        "YWFh.YWFh.YQ==",  # padded
        "YWFh.YWFh.YR",  # bits that no byte takes, set
        "YWFh.YWFh.Y",  # no length that base64 has
        "YWFh.YWFh.YW+h",  # base64, not base64url
        "YWFh.YWFh.YW/h",
        "YWFh.YWFh.YW!h",
        "YWFh.YWFh.YW h",
        "YWFh.YWFh.YW!!!!Fh",  # decoders that are not strict skip these
        "YWFh.YWFh.YWFh\n\n\n\n",
        "YWFh.YWFh.YWFh\n",
        "YWFh.YWFh.YWFé",
        "YWFh.YWFh.YWF\udc80",
        "YWFh.YWFh.YWF\uff21",  # a full-width A
    ],
)
def test_refuses_what_is_no_compact_jws(token: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        split(token)
    assert caught.value.reason is Reason.MALFORMED


def test_length_is_checked_first() -> None:
    assert split("YWFh.YWFh." + "A" * 7_990)[3] == bytes(5_992)
    for token in ("YWFh.YWFh." + "A" * 7_991, "!" * 8_001):
        with pytest.raises(InvalidToken) as caught:
            split(token)
        assert caught.value.reason is Reason.TOO_LONG


def is_split(token: str) -> bool:
    try:
        split(token)
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize("octets", [1, 2, 3])
def test_every_octet_string_has_one_segment(octets: int) -> None:
    # RFC 4648 §3.5: the bits of the last character that belong to no octet are zero.
    segments = {b64(bytes(octets - 1) + bytes([last])) for last in range(4**octets)}
    assert {
        "A" * octets + chr(last) for last in range(128) if is_split(f"YWFh.YWFh.{'A' * octets}{chr(last)}")
    } == segments


def test_reads_a_header() -> None:
    header = parse_header(header_segment(alg="RS256", kid="k", typ="at+jwt"), algorithms=ALGORITHMS)
    assert header == (("RS256", "k"), "at+jwt")


@pytest.mark.parametrize(
    ("typ", "read"),
    [
        *((typ, "at+jwt") for typ in ("at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt")),
        *((typ, "jwt") for typ in ("JWT", "jwt", "application/jwt")),
        *((typ, typ) for typ in ("", "logout+jwt", "application/x/jwt", "text/jwt", " jwt", "at+jwt ")),
    ],
)
def test_types_are_read_in_lower_case_without_application(typ: str, read: str) -> None:
    header = parse_header(header_segment(alg="RS256", typ=typ), algorithms=ALGORITHMS)
    assert header.token_type == read.removeprefix("application/")


def test_an_absent_type_counts_as_jwt() -> None:
    assert parse_header(header_segment(alg="RS256"), algorithms=ALGORITHMS) == (("RS256", None), "jwt")


@pytest.mark.parametrize("typ", [None, 1, [], ["JWT"], "j\u0301wt", "\u212a"])  # a Kelvin sign is k in lower case
def test_refuses_types_that_are_no_ascii_string(typ: object) -> None:
    assert refused_header(header_segment(alg="RS256", typ=typ)) is Reason.TOKEN_TYPE


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS512", "rs256", "RS256 ", "", "ES256"])
def test_refuses_algorithms_outside_the_list(alg: str) -> None:
    assert refused_header(header_segment(alg=alg)) is Reason.ALGORITHM


@pytest.mark.parametrize(
    "header",
    [{}, {"alg": None}, {"alg": 1}, {"alg": ["RS256"]}, {"alg": "RS256", "kid": 1}, {"alg": "RS256", "kid": None}],
)
def test_refuses_malformed_parameters(header: dict[str, object]) -> None:
    assert refused_header(header_segment(**header)) is Reason.MALFORMED


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp", {"a": 1}])
def test_refuses_crit_whatever_it_names(crit: object) -> None:
    assert refused_header(header_segment(alg="RS256", crit=crit)) is Reason.CRITICAL_HEADER


def test_refuses_unencoded_payloads() -> None:
    assert refused_header(header_segment(alg="RS256", b64=False)) is Reason.CRITICAL_HEADER


def test_ignores_other_parameters() -> None:
    segment = header_segment(alg="RS256", jku="https://evil.example", jwk={"kty": "RSA"}, x5c=["AA"], x5u="u", foo=1)
    assert parse_header(segment, algorithms=ALGORITHMS) == (("RS256", None), "jwt")


def test_reads_a_payload_and_keeps_its_json() -> None:
    assert parse_payload(b64(b'{"a" :1}').encode()) == ({"a": 1}, b'{"a" :1}')


@pytest.mark.parametrize("segment", ["e30=", "!!!!", "e3!!!!0", "W10", "eyJhIjoxLCJhIjoxfQ"])
def test_refuses_headers_that_are_no_object(segment: str) -> None:
    assert refused_header(segment.encode()) is Reason.MALFORMED


@pytest.mark.parametrize("segment", ["e30=", "!!!!", "e3!!!!0", "W10", "bnVsbA", "eyJhIjoxLCJhIjoxfQ", "e31"])
def test_refuses_payloads_that_are_no_object(segment: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        parse_payload(split(f"YWFh.{segment}.YWFh")[1])
    assert caught.value.reason is Reason.MALFORMED


@given(st.text(max_size=200) | st.text(alphabet="abcXYZ019-_.=+/", max_size=200))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        _, _, signing_input, signature = split(text)
    except InvalidToken:
        return
    # What is accepted is canonical: encoding what was decoded gives the same text again.
    assert text == f"{signing_input.decode()}.{b64(signature)}"


@given(st.binary(min_size=1, max_size=100))
def test_decoding_undoes_encoding(raw: bytes) -> None:
    assert split(f"YWFh.YWFh.{b64(raw)}")[3] == raw
