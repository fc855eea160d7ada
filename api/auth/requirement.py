"""What a route requires of a valid token: scopes, claims, a recent login. Imports no web framework."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from .claims import AccessToken
from .config import is_scope
from .errors import InsufficientScope, InsufficientUserAuthentication, InvalidToken
from .reasons import Reason
from .strict_json import equal_json

ClaimTest = Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a route requires of a token.

    `scopes`: the token has all of these. `any_of`: it has at least one of these; the challenge names the first.
    `audiences`: `aud` names one of these, instead of one that is configured for the issuer. `issuers`: `iss` is one of
    these trusted issuers. `claims`: each claim equals the value as JSON (1 equals 1.0, but not true), or passes the
    test (a function of the value, not async). `max_age`: the user logged in at most so many seconds ago. `acr_values`:
    `acr` is one of these. `optional`: requests without credentials are let through. `dpop="required"`: the token is
    bound to a key by DPoP (RFC 9449), so that it came with a proof. `mtls="required"`: it is bound to the client
    certificate that it came with (RFC 8705).

    Raises TypeError or ValueError for arguments that cannot be meant.
    """

    scopes: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    audiences: tuple[str, ...] | None = None
    issuers: tuple[str, ...] | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    optional: bool = False
    dpop: Literal["required"] | None = None
    mtls: Literal["required"] | None = None

    def __post_init__(self) -> None:
        for word in (*self.scopes, *self.any_of, *self.acr_values):
            if not isinstance(word, str):
                raise TypeError(f"scopes and acr values are strings, not {word!r}; was @require_auth() meant?")
            if not is_scope(word):
                raise ValueError(f"{word!r} is not one word: name each in a string of its own")
        for name, choice in (("audience", self.audiences), ("issuer", self.issuers)):
            if choice is not None and (not choice or not all(isinstance(value, str) and value for value in choice)):
                raise ValueError(f"{name} must be a non-empty string, or several")
            if not all(value.isprintable() for value in choice or ()):
                raise ValueError(f"{name} has an invisible or control character: {choice!r}")
        _check_claims(self.claims)
        # A copy, since the caller may change its dict later.
        object.__setattr__(self, "claims", MappingProxyType(dict(self.claims)))
        if self.max_age is not None and (type(self.max_age) is not int or self.max_age < 0):
            raise ValueError("max_age is a whole number of seconds, 0 or more")
        if not isinstance(self.optional, bool):
            raise TypeError("optional is True or False")
        _check_bindings(dpop=self.dpop, mtls=self.mtls)

    @property
    def required_scopes(self) -> tuple[str, ...]:
        """Return the scopes that a challenge names (RFC 6750 §3): all of `scopes`, and the first of `any_of`."""
        return self.scopes + self.any_of[:1]

    def in_words(self) -> str:
        """Return the requirement for a developer to read. Has the names of claims, not their values."""
        parts = [
            ("scope ", " ".join(self.scopes)),
            ("scope ", " or ".join(self.any_of)),
            ("audience ", " or ".join(self.audiences or ())),
            ("issuer ", " or ".join(self.issuers or ())),
            ("claims ", ", ".join(self.claims)),
            ("login within ", "" if self.max_age is None else f"{self.max_age} s"),
            ("acr ", " or ".join(self.acr_values)),
            ("", "bound to a key by DPoP" if self.dpop else ""),
            ("", "bound to a client certificate" if self.mtls else ""),
        ]
        words = "; ".join(f"{label}{value}" for label, value in parts if value) or "any valid token"
        return f"{words}; or no token" if self.optional else words

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this requirement: a MappingProxyType has no way."""
        return _restore, ({**{one.name: getattr(self, one.name) for one in fields(self)}, "claims": dict(self.claims)},)

    def check(self, token: AccessToken, now: float, leeway_seconds: float) -> None:
        """Raise an AuthError if a verified token does not meet this requirement; `now` is in seconds since 1970.

        InvalidToken for another issuer, or a token that is not bound as required, InsufficientScope for scopes and
        claims (RFC 6750 §3.1), InsufficientUserAuthentication for the login (RFC 9470 §3). Does not check the audience:
        TokenVerifier does.
        """
        if self.issuers is not None and token.issuer not in self.issuers:
            raise InvalidToken(Reason.ISSUER, claim="iss")
        # A token with a thumbprint has come with its proof, else TokenVerifier has refused it.
        if self.dpop is not None and token.key_thumbprint is None:
            raise InvalidToken(Reason.NOT_KEY_BOUND, claim="cnf")
        if self.mtls is not None and token.certificate_thumbprint is None:
            raise InvalidToken(Reason.NOT_CERTIFICATE_BOUND, claim="cnf")
        # Scopes first: few tokens need their permissions as well.
        if not token.scopes.issuperset(self.scopes) and not token.granted.issuperset(self.scopes):
            raise InsufficientScope(self.required_scopes)
        if self.any_of and token.granted.isdisjoint(self.any_of):
            raise InsufficientScope(self.required_scopes)
        if self.claims and (claim := self._refused_claim(token.claims)) is not None:
            raise InsufficientScope(self.required_scopes, Reason.CLAIM_VALUE, claim=claim)
        if self.max_age is not None and (
            token.auth_time is None or token.auth_time + self.max_age + leeway_seconds < now
        ):
            raise self._step_up(Reason.AUTHENTICATION_TOO_OLD, "auth_time")
        if self.acr_values and token.acr not in self.acr_values:
            raise self._step_up(Reason.AUTHENTICATION_TOO_WEAK, "acr")

    def _refused_claim(self, claims: Mapping[str, Any]) -> str | None:
        """Return the name of the first claim that is missing or has another value; None if there is none."""
        for name, wanted in self.claims.items():
            if name not in claims:
                return name
            value = claims[name]
            if not (_passes(wanted, value) if callable(wanted) else equal_json(wanted, value)):
                return name
        return None

    def _step_up(self, reason: Reason, claim: str) -> InsufficientUserAuthentication:
        return InsufficientUserAuthentication(reason, max_age=self.max_age, acr_values=self.acr_values, claim=claim)


def _restore(arguments: dict[str, Any]) -> Requirement:
    return Requirement(**arguments)


def _check_bindings(**bindings: object) -> None:
    for name, binding in bindings.items():
        if binding not in (None, "required"):
            raise ValueError(f'{name} is "required" or None')


def _check_claims(claims: object) -> None:
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        raise TypeError("claims is a mapping of claim names to values or tests")
    for name, wanted in claims.items():
        if not name.isprintable():
            raise ValueError(f"the name of the claim {name!r} has an invisible or control character")
        if callable(wanted) and _is_deferred(wanted):
            raise TypeError(f"the test of {name!r} is async or a generator: its result would always count as true")


def _passes(test: ClaimTest, value: Any) -> bool:
    try:
        result = test(value)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False  # the claim has another type than the test expects
    if inspect.iscoroutine(result):  # such as from a lambda that calls an async function
        result.close()
        raise RuntimeError("a test of a claim returned a coroutine, which would always count as true")
    return bool(result)


def _is_deferred(test: Callable[..., Any]) -> bool:
    """Return whether a call of `test` returns a coroutine or a generator instead of a result."""
    while isinstance(test, functools.partial):
        test = test.func
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(is_kind(test) or is_kind(type(test).__call__) for is_kind in kinds)


def one_or_several(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return an argument that is a string or a collection of strings as a tuple; None stays None."""
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)
