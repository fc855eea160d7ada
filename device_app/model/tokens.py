"""A login: what was requested, the tokens that the issuer granted, and the user that the ID token names."""

import base64
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from device_app.model.errors import DeviceAppError
from device_app.model.proof_key import ProofKey
from device_app.model.step_up import NO_REQUIREMENTS, AuthenticationRequirements
from device_app.model.untrusted import finite_number, plain_text

__all__ = [
    "DEFAULT_AUDIENCE",
    "DEFAULT_CLIENT_ID",
    "DEFAULT_ISSUER",
    "DEFAULT_SCOPE",
    "LoginRequest",
    "Tokens",
]

# The mock issuer and the API of this project, as `make run` starts them.
DEFAULT_ISSUER: Final = "http://127.0.0.1:9000/"
DEFAULT_CLIENT_ID: Final = "device-app"
DEFAULT_AUDIENCE: Final = "https://device-api.example"
DEFAULT_SCOPE: Final = "openid profile offline_access read:devices read:readings"

# Wider than b64token (RFC 6750 §2.1), but nothing that could end the Authorization header.
_ACCESS_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a login requests, and from which issuer; stored with the tokens so that they can be refreshed.

    The endpoints are None unless the user named them; they are then discovered. `dpop` asks for tokens that are
    bound to a key of this login (RFC 9449).
    """

    issuer: str
    client_id: str
    audience: str
    scope: str
    device_authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    dpop: bool = False

    def command(self, scope: str | None = None, requirements: AuthenticationRequirements = NO_REQUIREMENTS) -> str:
        """Return the `device login` command line that repeats this request, quoted for a shell.

        `scope` replaces the scope of this request; `requirements` are added.
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
        if self.dpop:
            words.append("--dpop")
        return shlex.join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens that the issuer granted.

    `expires_at` is the access token's expiry in seconds since 1970, or None if the issuer sent none. `subject` and
    `name` are the claims `sub` and `name` of the ID token, or None if the issuer sent no usable ones. `proof_key` is
    the key that the tokens are bound to, or None for bearer tokens.
    """

    request: LoginRequest
    scope: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float | None
    subject: str | None = None
    name: str | None = None
    proof_key: ProofKey | None = field(default=None, repr=False)

    @classmethod
    def from_response(
        cls,
        unverified_response: Mapping[str, Any],
        *,
        request: LoginRequest,
        now: float,
        previous: "Tokens | None" = None,
        key: ProofKey | None = None,
    ) -> "Tokens":
        """Check a successful token response (RFC 6749 §5.1) and return its tokens.

        `now` is in seconds since 1970. `previous` are the tokens that were refreshed: refresh token, scope, subject
        and name are kept if the response omits them (RFC 6749 §6). `key` is the one that the request proved. Raises
        DeviceAppError if the response holds no bearer token, or with a key, no token that is bound to one.
        """
        access_token = unverified_response.get("access_token")
        if not isinstance(access_token, str) or not _ACCESS_TOKEN.fullmatch(access_token):
            raise DeviceAppError("The issuer sent no usable access token.")
        # RFC 9449 §5: the type says whether the issuer has bound the token.
        expected_type = "Bearer" if key is None else "DPoP"
        token_type = unverified_response.get("token_type")
        if not isinstance(token_type, str) or token_type.lower() != expected_type.lower():
            raise DeviceAppError(f"The issuer sent a token of another type than {expected_type}.")
        refresh_token = unverified_response.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            refresh_token = previous.refresh_token if previous else None
        lifetime_seconds = finite_number(unverified_response.get("expires_in"))
        scope = unverified_response.get("scope")
        if not isinstance(scope, str):
            # RFC 6749 §5.1: may be omitted if identical to the requested scope.
            scope = previous.scope if previous else request.scope
        claims = _id_token_claims(
            unverified_response.get("id_token"), issuer=request.issuer, client_id=request.client_id
        )
        subject, name = plain_text(claims.get("sub")), plain_text(claims.get("name"))
        return cls(
            request=request,
            scope=plain_text(scope),
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
            subject=subject or (previous.subject if previous else None),
            name=name or (previous.name if previous else None),
            proof_key=key,
        )

    @property
    def user(self) -> str | None:
        """Who logged in, for display: the name, else the subject; None if the issuer sent neither."""
        return self.name or self.subject

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """The values that must never be printed, except by `device token`."""
        return (self.access_token, self.refresh_token, self.proof_key.d if self.proof_key else None)


def _id_token_claims(unverified_id_token: object, *, issuer: str, client_id: str) -> dict[str, Any]:
    """Return the claims of an ID token received from `issuer`'s token endpoint; empty if there is no usable one.

    Checks `iss` and `aud`. Does not check the signature, which the TLS connection to the token endpoint replaces
    (OpenID Connect Core §3.1.3.7), nor `exp`, since the token is only displayed.
    """
    claims = _unverified_claims(unverified_id_token)
    audience = claims.get("aud")
    if claims.get("iss") != issuer or client_id not in (audience if isinstance(audience, list) else [audience]):
        return {}
    return claims


def _unverified_claims(unverified_jwt: object) -> dict[str, Any]:
    if not isinstance(unverified_jwt, str):
        return {}
    try:
        _, payload, _ = unverified_jwt.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
