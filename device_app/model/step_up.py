"""Step-up authentication: what an API may require of a login beyond scopes (RFC 9470)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from device_app.model.untrusted import decimal_integer, plain_text

__all__ = ["NO_REQUIREMENTS", "AuthenticationRequirements"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationRequirements:
    """How the user must log in: at most `max_age` seconds ago, with one of the classes in `acr_values`."""

    max_age: int | None = None
    acr_values: str = ""

    @classmethod
    def from_challenge(cls, unverified_parameters: Mapping[str, str]) -> "AuthenticationRequirements":
        """Return the requirements in the parameters of a challenge (RFC 9470 §3). A malformed value is ignored."""
        return cls(
            max_age=decimal_integer(unverified_parameters.get("max_age", "")),
            acr_values=plain_text(unverified_parameters.get("acr_values")),
        )

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Yield the parameters of the authorization request (RFC 9470 §4)."""
        if self.max_age is not None:
            yield "max_age", str(self.max_age)
        if self.acr_values:
            yield "acr_values", self.acr_values


NO_REQUIREMENTS: Final = AuthenticationRequirements()
