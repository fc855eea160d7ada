"""What a route requires of a valid token: scopes, claims, a recent login. Imports no web framework."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .claims import AccessToken
from .config import is_scope
from .errors import InsufficientScope, InsufficientUserAuthentication, InvalidToken, Reason

ClaimTest = Callable[[Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a route requires of a token.

    `scopes`: the token has all of these. `any_of`: it has at least one of these; the challenge names the first.
    `audiences`: `aud` names one of these, instead of one that is configured for the issuer. `issuers`: `iss` is one of
    these trusted issuers. `claims`: each claim equals the value, or passes the test (a function of the value).
    `max_age`: the user logged in at most so many seconds ago. `acr_values`: `acr` is one of these. `optional`: requests
    without credentials are let through.

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

    def __post_init__(self) -> None:
        for word in (*self.scopes, *self.any_of, *self.acr_values):
            if not isinstance(word, str):
                raise TypeError(f"scopes and acr values are strings, not {word!r}; was @require_auth() meant?")
            if not is_scope(word):
                raise ValueError(f"{word!r} is not one word: name each in a string of its own")
        for name, choice in (("audience", self.audiences), ("issuer", self.issuers)):
            if choice is not None and (not choice or not all(isinstance(value, str) and value for value in choice)):
                raise ValueError(f"{name} must be a non-empty string, or several")
        if not isinstance(self.claims, Mapping) or not all(isinstance(name, str) for name in self.claims):
            raise TypeError("claims is a mapping of claim names to values or tests")
        # A copy, since the caller may change its dict later.
        object.__setattr__(self, "claims", MappingProxyType(dict(self.claims)))
        if self.max_age is not None and (type(self.max_age) is not int or self.max_age < 0):
            raise ValueError("max_age is a whole number of seconds, 0 or more")
        if not isinstance(self.optional, bool):
            raise TypeError("optional is True or False")

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
        ]
        words = "; ".join(f"{label}{value}" for label, value in parts if value) or "any valid token"
        return f"{words}; or no token" if self.optional else words

    def check(self, token: AccessToken, now: float, leeway_seconds: float) -> None:
        """Raise an AuthError if a verified token does not meet this requirement; `now` is in seconds since 1970.

        InvalidToken for another issuer, InsufficientScope for scopes and claims (RFC 6750 §3.1),
        InsufficientUserAuthentication for the login (RFC 9470 §3). Does not check the audience: TokenVerifier does.
        """
        if self.issuers is not None and token.issuer not in self.issuers:
            raise InvalidToken(Reason.ISSUER)
        granted = token.granted
        if not granted.issuperset(self.scopes) or (self.any_of and granted.isdisjoint(self.any_of)):
            raise InsufficientScope(self.scopes + self.any_of[:1])
        if self.claims and not self._accepts_claims(token.claims):
            raise InsufficientScope(self.scopes + self.any_of[:1], Reason.CLAIM_VALUE)
        if self.max_age is not None and (
            token.auth_time is None or token.auth_time + self.max_age + leeway_seconds < now
        ):
            raise self._step_up(Reason.AUTHENTICATION_TOO_OLD)
        if self.acr_values and token.acr not in self.acr_values:
            raise self._step_up(Reason.AUTHENTICATION_TOO_WEAK)

    def _accepts_claims(self, claims: Mapping[str, Any]) -> bool:
        for name, wanted in self.claims.items():
            if name not in claims:
                return False
            value = claims[name]
            # The types too: True == 1 in Python, but not in JSON.
            if not (_passes(wanted, value) if callable(wanted) else type(value) is type(wanted) and value == wanted):
                return False
        return True

    def _step_up(self, reason: Reason) -> InsufficientUserAuthentication:
        return InsufficientUserAuthentication(reason, max_age=self.max_age, acr_values=self.acr_values)


def _passes(test: ClaimTest, value: Any) -> bool:
    try:
        return bool(test(value))
    except (AttributeError, LookupError, TypeError, ValueError):
        return False  # the claim has another type than the test expects


def one_or_several(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return an argument that is a string or a collection of strings as a tuple; None stays None."""
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)
