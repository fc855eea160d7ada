import pytest

from mock_issuer.config import UserCodeCharset
from mock_issuer.flow.user_code import generate, normalize


@pytest.mark.parametrize(("charset", "characters"), [("base20", "BCDFGHJKLMNPQRSTVWXZ"), ("digits", "0123456789")])
def test_a_code_is_the_mask_with_random_characters(charset: UserCodeCharset, characters: str) -> None:
    codes = [generate(charset, "**-** *") for _ in range(500)]
    assert {(len(code), code[2], code[5]) for code in codes} == {(7, "-", " ")}
    # RFC 8628 §6.1: no vowel, and all of the characters, at each place.
    for place in (0, 1, 3, 4, 6):
        assert {code[place] for code in codes} == set(characters)


@pytest.mark.parametrize(
    "entered", ["BCDF-1234", "bcdf1234", " b c d f - 1 2 3 4 ", "\uff42\uff23DF\uff11234", "b.c.d.f\u20131234"]
)
def test_case_punctuation_and_width_do_not_matter(entered: str) -> None:
    assert normalize(entered) == "BCDF1234"


@pytest.mark.parametrize("entered", ["BCDF-1235", "BCDF-123", "BCDF-12344", "", "\u0411CDF-1234"])
def test_other_codes_are_others(entered: str) -> None:
    assert normalize(entered) != "BCDF1234"


def test_only_the_first_64_characters_are_read() -> None:
    assert normalize("-" * 63 + "BC") == "B"
