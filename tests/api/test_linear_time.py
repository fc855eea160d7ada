"""Reading what a client sends takes time linear in its length: no pattern backtracks over it more than once."""

import contextlib
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.http import parse_etags

import api
from api.auth.dpop.request_url import normalised
from api.auth.errors import AuthError
from api.auth.unverified_token import bearer_token
from api.devices.idempotency import parse_idempotency_key
from api.problems.problem import Problem
from api.web.conditions import _TAG_LIST

# Quadratic time gives 16 for 4 times the length, linear time 4.
_MAX_RATIO = 8
_LENGTHS = (2_048, 8_192)
_PREFIXES = ("", '"', "a", '"a"', 'Basic "', "Bearer a", ",", "2026-11-21T10:00:00.", "1", "dev_", "[")
_UNITS = (
    *('\\"', "\\", '"', '""', '"a"', '"a",', '"a" , ', 'W/"', 'W/"a",', " ", "\t", ",", ", ", " ,\t"),
    *(",bearer", ", bearerx", "a", "a.", "=", "a=", "1", "-1", ":", "0-", "%61", "&a", "&access_toke", "é", "\u202e"),
)
_SUFFIXES = ("", '"', "x", "\0", "é", ", Bearer")

# How the code uses each pattern that sees a client's bytes.
_CLIENTS_PATTERNS = {
    "api.auth.claims._SCOPE_CHARACTERS": "fullmatch",
    "api.auth.config._QUOTABLE": "fullmatch",
    "api.auth.dpop.request_url._PERCENT": "search",
    "api.auth.dpop.request_url._URL": "fullmatch",
    "api.auth.flask.extension._HOST": "fullmatch",
    "api.auth.unverified_token._TOKEN_PARAMETER": "search",
    "api.auth.unverified_token._COMPACT_JWS": "fullmatch",
    "api.auth.unverified_token._SECOND_BEARER": "search",
    "api.devices.idempotency._KEY": "fullmatch",
    "api.devices.ownership._STORABLE": "fullmatch",
    "api.devices.routes._DEVICE_ID": "fullmatch",
    "api.request_id._VALID_ID": "fullmatch",
    "api.web.conditions._TAG_LIST": "fullmatch",
    "api.web.conditions._VERSION": "fullmatch",
    "api.web.fields._DECIMAL": "fullmatch",
    "api.web.fields._VISIBLE": "match",
    "api.web.fields._RFC3339": "fullmatch",
}
# These see settings and arguments of decorators, or an issuer's answers.
_OTHERS = {
    "api.auth.config._MEDIA_TYPE",
    "api.auth.config._SCOPE_TOKEN",
    "api.auth.issuers._GUID",
    "api.auth.issuers._HOST",
    "api.auth.issuers._SEGMENT",
    "api.auth.issuers._USER_POOL",
    "api.auth.keys.fetch._MAX_AGE",
    "api.auth.keys.fetch._NO_STORE_OR_NO_CACHE",
    "api.auth.mtls._HEADER_NAME",
    "api.settings.values._ORIGIN",
}


def hostile(length: int) -> Iterator[str]:
    for prefix in _PREFIXES:
        for unit in _UNITS:
            for suffix in _SUFFIXES:
                text = prefix + unit * (length // len(unit))
                yield text[: length - len(suffix)] + suffix


def seconds(read: Callable[[str], object], text: str) -> float:
    # The CPU time of this thread: other processes do not count.
    start = time.thread_time_ns()
    read(text)
    return (time.thread_time_ns() - start) / 1e9


def growth(read: Callable[[str], object], short: str, long: str, tries: int) -> float:
    base, more = (min(seconds(read, text) for _ in range(tries)) for text in (short, long))
    return more / max(base, 20e-6)  # shorter times are all noise


def assert_linear(read: Callable[[str], object]) -> None:
    for short, long in zip(*map(hostile, _LENGTHS), strict=True):
        # Now and then something delays a call, so a high ratio counts only if it stays over more tries.
        if growth(read, short, long, 1) >= _MAX_RATIO:
            assert growth(read, short, long, 20) < _MAX_RATIO, f"{short[:20]!r}…{short[-10:]!r}"


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.walk_packages(api.__path__, "api."):
        if "migrations" in module.name or module.name == "api.__main__":
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def test_every_pattern_is_known() -> None:
    assert {name for name, _ in patterns()} == _CLIENTS_PATTERNS.keys() | _OTHERS


@pytest.mark.parametrize("name", _CLIENTS_PATTERNS)
def test_patterns_are_linear(name: str) -> None:
    pattern = dict(patterns())[name]
    use = getattr(pattern, _CLIENTS_PATTERNS[name])
    assert_linear(use if isinstance(pattern.pattern, str) else lambda text: use(text.encode()))


def _authorization(text: str) -> None:
    with contextlib.suppress(AuthError):
        bearer_token(text)


def _quoted_authorization(text: str) -> None:
    with contextlib.suppress(AuthError):
        bearer_token(f'Basic "{text}')


def _entity_tags(text: str) -> None:
    # As read_condition does; a request context for each of the texts would take seconds.
    if _TAG_LIST.fullmatch(text):
        parse_etags(text)


def _idempotency_key(text: str) -> None:
    with contextlib.suppress(Problem):
        parse_idempotency_key(text, {})


def _proofs_url(text: str) -> None:
    normalised(f"https://api.example/{text}")


@pytest.mark.parametrize("read", [_authorization, _quoted_authorization, _entity_tags, _idempotency_key, _proofs_url])
def test_headers_are_read_in_linear_time(read: Callable[[str], object]) -> None:
    assert_linear(read)
