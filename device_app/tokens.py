"""The tokens of one login."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from device_app.errors import DeviceAppError
from device_app.untrusted import finite_number, plain_text

__all__ = ["DEFAULT_AUDIENCE", "DEFAULT_CLIENT_ID", "DEFAULT_ISSUER", "LoginRequest", "Tokens"]

# The mock issuer and the API of this project, as `make run` starts them.
DEFAULT_ISSUER: Final = "http://127.0.0.1:9000/"
DEFAULT_CLIENT_ID: Final = "device-app"
DEFAULT_AUDIENCE: Final = "https://device-api.example"

# RFC 6750 §2.1 says b64token; any visible ASCII is taken, so that nothing can break out of a header.
_TOKEN_SHAPE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a login asks for, and from whom; kept beside the tokens so that they can be refreshed and asked for anew."""

    issuer: str
    client_id: str
    audience: str
    scope: str

    def command(self, scope: str | None = None) -> str:
        """Return the command line that asks for this login again, or for `scope` instead, to be pasted into a shell."""
        options = [
            ("--issuer", self.issuer, DEFAULT_ISSUER),
            ("--client-id", self.client_id, DEFAULT_CLIENT_ID),
            ("--audience", self.audience, DEFAULT_AUDIENCE),
            ("--scope", scope, None),
        ]
        words = ["device", "login"]
        for name, value, default in options:
            if value is not None and value != default:
                words += [name, value]
        return shlex.join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the issuer granted. `expires_at` is in seconds since 1970, None where the issuer did not say."""

    request: LoginRequest
    scope: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None

    @classmethod
    def from_response(
        cls,
        unverified_response: Mapping[str, Any],
        *,
        request: LoginRequest,
        now: float,
        previous: "Tokens | None" = None,
    ) -> "Tokens":
        """Check a successful token response (RFC 6749 §5.1) and return its tokens.

        `now` is the time of day in seconds. `previous` are the tokens that were refreshed: what the response leaves out
        stays as it was (RFC 6749 §6). Raises DeviceAppError when the response cannot be used.
        """
        access_token = unverified_response.get("access_token")
        if not isinstance(access_token, str) or not _TOKEN_SHAPE.fullmatch(access_token):
            raise DeviceAppError("The issuer sent no usable access token.")
        token_type = unverified_response.get("token_type")
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise DeviceAppError("The issuer sent a token of another type than Bearer.")
        refresh_token = unverified_response.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            refresh_token = previous.refresh_token if previous else None
        lifetime_seconds = finite_number(unverified_response.get("expires_in"))
        scope = unverified_response.get("scope")
        if not isinstance(scope, str):
            # RFC 6749 §5.1: left out where it is what was asked for.
            scope = previous.scope if previous else request.scope
        return cls(
            request=request,
            scope=plain_text(scope),
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
        )

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """What must never be printed."""
        return (self.access_token, self.refresh_token)
