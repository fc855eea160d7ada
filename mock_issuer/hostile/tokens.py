"""Tokens that no library makes: any bytes as header and payload, with any signature."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mock_issuer.config import Dialect
from mock_issuer.dialects.content import AccessContent, IdContent
from mock_issuer.dialects.vendors import FORMS, TokenForm

# As the value of a claim or a header parameter: leave it out.
OMIT: Final = object()
LIFETIME_SECONDS = 3600
_USER = "hostile|tester"
_CLIENT = "hostile-check"

# Takes the JWS Signing Input (RFC 7515 §2), returns the signature.
SignFunction = Callable[[bytes], bytes]


class IssuerKeys(Protocol):
    """The issuer's signing key and its published keys."""

    @property
    def kid(self) -> str:
        """The id of the signing key."""

    def sign_raw(self, signing_input: bytes) -> bytes:
        """Sign any bytes with RS256."""

    def jwks(self) -> dict[str, Any]:
        """Return the published JWK Set (RFC 7517 §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFactory:
    """Makes tokens that are valid except for the changes in the arguments.

    Args:
        keys: sign the tokens unless a method gets another `sign`.
        issuer: the `iss`.
        audience: the `aud`.
        scope: the scopes that the tested route requires, space-separated; empty if it accepts any valid token.
        now: the `iat`, a NumericDate. `exp` is one hour later.
        dialect: the form of the tokens. The arguments of the methods have the names of RFC 9068 in each.
    """

    keys: IssuerKeys
    issuer: str
    audience: str
    scope: str
    now: int
    dialect: Dialect = "rfc9068"

    @property
    def form(self) -> TokenForm:
        """The form of the tokens."""
        return FORMS[self.dialect]

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return the header of a valid token (RFC 9068 §2.1) with these parameters changed; OMIT removes one."""
        typ = OMIT if self.form.access_type is None else self.form.access_type
        return _merge({"alg": "RS256", "typ": typ, "kid": self.keys.kid}, changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token (RFC 9068 §2.2) with these changed; OMIT removes one.

        `aud`, `client_id` and `scope` stand for the claims that have these in the dialect. Where scopes are a list, a
        string becomes one.
        """
        content = AccessContent(
            issuer=self.issuer,
            audience=self.audience,
            # A vendor's access tokens have at least one scope.
            scopes=tuple(filter(None, self.scope.split(" "))) or ("hostile:nothing",),
            sub=_USER,
            # Where tokens name no API, the API accepts those of certain clients.
            client_id=_CLIENT if self.form.names_audience else self.audience,
            issued_at=self.now,
            expires_at=self.now + LIFETIME_SECONDS,
            userinfo_audience=self.audience,
        )
        valid = self.form.access_claims(content)
        if not self.scope and self.dialect == "rfc9068":
            changes = {"scope": OMIT} | changes
        return _merge(valid, dict(self._translate(name, value) for name, value in changes.items()))

    def _translate(self, name: str, value: Any) -> tuple[str, Any]:
        scope_claim, scope_type = next(iter(self.form.scope_claims.items()))
        if name == "scope":
            return scope_claim, value.split(" ") if scope_type is list and isinstance(value, str) else value
        if name == "client_id" or (name == "aud" and not self.form.names_audience):
            return self.form.client_claim, value
        return name, value

    def id_token(self, *, audience: str, **changes: Any) -> str:
        """Return an ID token for this audience, with its claims in the dialect and these added."""
        content = IdContent(
            issuer=self.issuer,
            client_id=audience,
            sub=_USER,
            issued_at=self.now,
            expires_at=self.now + LIFETIME_SECONDS,
            auth_time=self.now,
            profile={},
            username=_USER,
            access_token="",
        )
        typ = OMIT if self.form.id_type is None else self.form.id_type
        return self.token(self.header(typ=typ), self.form.id_claims(content) | changes)

    def token(
        self,
        header: Mapping[str, Any] | bytes | None = None,
        payload: Mapping[str, Any] | bytes | None = None,
        sign: SignFunction | None = None,
    ) -> str:
        """Return a JWS in compact serialization (RFC 7515 §7.1).

        Args:
            header: its members, or the bytes to encode; None: the header of a valid token.
            payload: likewise; None: the claims of a valid token.
            sign: makes the signature; None: the issuer's key.
        """
        parts = (self.header() if header is None else header, self.claims() if payload is None else payload)
        raw = (part if isinstance(part, bytes) else encode_json(part) for part in parts)
        return self.add_signature(".".join(map(base64url, raw)), sign)

    def add_signature(self, signing_input: str, sign: SignFunction | None = None) -> str:
        """Return a token of this signing input and its signature, by the issuer's key unless `sign` is given."""
        return f"{signing_input}.{base64url((sign or self.keys.sign_raw)(signing_input.encode()))}"

    def with_claims(self, **changes: Any) -> str:
        """Return a token with these claims changed; OMIT removes one."""
        return self.token(payload=self.claims(**changes))

    def with_header(self, sign: SignFunction | None = None, **changes: Any) -> str:
        """Return a token with these header parameters changed; OMIT removes one."""
        return self.token(self.header(**changes), sign=sign)


def _merge(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not OMIT}


def base64url(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def encode_json(members: Mapping[str, Any], *raw_members: str) -> bytes:
    """Return a JSON object; `raw_members` are appended as they are, so that names can be repeated."""
    return f"{json.dumps(members)[:-1]}{''.join(f', {member}' for member in raw_members)}}}".encode()
