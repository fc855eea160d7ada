"""The tokens of one login, and who the ID token says has logged in."""

import base64
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from device_app.model.errors import DeviceAppError
from device_app.model.step_up import NO_REQUIREMENTS, AuthenticationRequirements
from device_app.model.untrusted import finite_number, plain_text

__all__ = [
    "DEFAULT_AUDIENCE",
    "DEFAULT_CLIENT_ID",
    "DEFAULT_ISSUER",
    "DEFAULT_SCOPE",
    "LoginRequest",
    "Tokens",
    "subject_of",
]


# The mock issuer and the API of this project, as `make run` starts them.
DEFAULT_ISSUER: Final = "http://127.0.0.1:9000/"
DEFAULT_CLIENT_ID: Final = "device-app"
DEFAULT_AUDIENCE: Final = "https://device-api.example"
DEFAULT_SCOPE: Final = "openid offline_access read:devices read:readings"

# RFC 6750 §2.1 says b64token; any visible ASCII is taken, so that nothing can break out of a header.
_TOKEN_SHAPE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a login asks for, and from whom; kept beside the tokens so that they can be refreshed and asked for anew.

    The endpoints are set where the person named them; an issuer without them is asked for its own.
    """

    issuer: str
    client_id: str
    audience: str
    scope: str
    device_authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None

    def command(self, scope: str | None = None, requirements: AuthenticationRequirements = NO_REQUIREMENTS) -> str:
        """Return the command line that asks for this login again, to be pasted into a shell.

        `scope` is asked for instead of this login's, where given; the `requirements` besides.
        """
        options = [
            ("--issuer", self.issuer, DEFAULT_ISSUER),
            ("--device-authorization-endpoint", self.device_authorization_endpoint, None),
            ("--token-endpoint", self.token_endpoint, None),
            ("--revocation-endpoint", self.revocation_endpoint, None),
            ("--client-id", self.client_id, DEFAULT_CLIENT_ID),
            ("--audience", self.audience, DEFAULT_AUDIENCE),
            ("--scope", self.scope if scope is None else scope, DEFAULT_SCOPE),
            *(("--" + name.replace("_", "-"), value, None) for name, value in requirements.parameters()),
        ]
        words = ["device", "login"]
        for name, value, default in options:
            if value is not None and value != default:
                words += [name, value]
        return shlex.join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What the issuer granted.

    `expires_at` is in seconds since 1970, None where the issuer did not say. `subject` is who logged in, None where the
    issuer sent no ID token.
    """

    request: LoginRequest
    scope: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None
    subject: str | None = None

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
        subject = subject_of(unverified_response.get("id_token"), issuer=request.issuer, client_id=request.client_id)
        return cls(
            request=request,
            scope=plain_text(scope),
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
            subject=subject or (previous.subject if previous else None),
        )

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """What must never be printed."""
        return (self.access_token, self.refresh_token)


def subject_of(unverified_id_token: object, *, issuer: str, client_id: str) -> str | None:
    """Return the `sub` of an ID token that came straight from `issuer`'s token endpoint, None where there is none.

    The signature is not checked: OpenID Connect Core §3.1.3.7 lets TLS stand in for it on this way. `iss` and `aud`
    must be right.
    """
    claims = _payload(unverified_id_token)
    audience = claims.get("aud")
    if claims.get("iss") != issuer or client_id not in (audience if isinstance(audience, list) else [audience]):
        return None
    return plain_text(claims.get("sub")) or None


def _payload(unverified_token: object) -> dict[str, Any]:
    if not isinstance(unverified_token, str):
        return {}
    try:
        _, payload, _ = unverified_token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
