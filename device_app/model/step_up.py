"""What an API may ask of a login beyond scopes (RFC 9470, step-up authentication)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from device_app.model.untrusted import plain_text

__all__ = ["NO_REQUIREMENTS", "AuthenticationRequirements"]

# Digits that fit any honest age; more would only overflow.
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationRequirements:
    """How the person must log in: at most `max_age` seconds ago, in one of the ways that `acr_values` names."""

    max_age: int | None = None
    acr_values: str = ""

    @classmethod
    def from_challenge(cls, unverified_parameters: Mapping[str, str]) -> "AuthenticationRequirements":
        """Read the parameters of a challenge (RFC 9470 §3); one that is no such value is left out."""
        max_age = unverified_parameters.get("max_age", "")
        understood = max_age.isascii() and max_age.isdigit() and len(max_age) <= _MOST_DIGITS
        return cls(
            max_age=int(max_age) if understood else None,
            acr_values=plain_text(unverified_parameters.get("acr_values")),
        )

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Yield what an authorization request says of them (RFC 9470 §4)."""
        if self.max_age is not None:
            yield "max_age", str(self.max_age)
        if self.acr_values:
            yield "acr_values", self.acr_values


NO_REQUIREMENTS: Final = AuthenticationRequirements()
