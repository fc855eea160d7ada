"""The grants of the token endpoint: Authlib finds the one that a request names, and these answer it.

Authlib's own grants are not used further: its device grant redeems a code any number of times, its refresh grant
rotates in two steps, and all of them write tokens to the debug log.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from authlib.oauth2 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749 import (
    AccessDeniedError,
    BaseGrant,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    TokenEndpointMixin,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc8628 import (
    DEVICE_CODE_GRANT_TYPE,
    AuthorizationPendingError,
    ExpiredTokenError,
    SlowDownError,
)

from mock_issuer.config import CLIENT_CREDENTIALS_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE, Client, User
from mock_issuer.flow.decisions import ask_rules, follow_script
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.flow.records import Access, Refusal
from mock_issuer.oauth.request import FormRequest, authenticate
from mock_issuer.oauth.tokens import machine_access, machine_tokens, split_scope, user_tokens
from mock_issuer.rules import REFRESH_PROTOCOL, ExtraClaims, RuleDenied


def answer(request: FormRequest) -> dict[str, Any]:
    """Answer a token request (RFC 6749 §5.1), and note a success in the log.

    Raises OAuth2Error for everything that RFC 6749 §5.2 and RFC 8628 §3.5 name.
    """
    if "grant_type" not in request.form:
        raise InvalidRequestError("The grant_type is missing.")
    grant = _SERVER.get_token_grant(request)
    assert isinstance(grant, _Grant)  # noqa: S101  # these are the ones registered below
    return grant.answer()


class _Grant(BaseGrant, TokenEndpointMixin, ABC):
    request: FormRequest
    success_event: ClassVar[str]

    def answer(self) -> dict[str, Any]:
        issuer = current_issuer()
        client = authenticate(self.request, issuer.config)
        if not client.check_grant_type(str(self.GRANT_TYPE)):
            raise UnauthorizedClientError("The client may not use this grant_type.")
        return self.tokens(issuer, client)

    @abstractmethod
    def tokens(self, issuer: Issuer, client: Client) -> dict[str, Any]:
        """Return the token response for an authenticated client that may use this grant."""

    def required(self, name: str) -> str:
        if name not in self.request.form:
            raise InvalidRequestError(f"The {name} is missing.")
        return self.request.form[name]

    def note_success(self, issuer: Issuer, client: Client, access: Access, user: User | None = None) -> None:
        issuer.note(
            self.success_event,
            client_id=client.client_id,
            ip=self.request.address,
            user_id=user.sub if user else "",
            user_name=user.name if user else "",
            audience=access.audience,
            scope=" ".join(access.scopes),
        )


class _DeviceCodeGrant(_Grant):
    GRANT_TYPE = DEVICE_CODE_GRANT_TYPE
    success_event = "sede"

    def tokens(self, issuer: Issuer, client: Client) -> dict[str, Any]:
        device_code = self.required("device_code")
        if scripted := issuer.state.find_scripted(device_code, client, now=issuer.clock()):
            follow_script(issuer, scripted)
        answer = issuer.state.poll(device_code, client, now=issuer.clock())
        if isinstance(answer, Refusal):
            raise _poll_error(answer)
        grant, user = answer.grant, _user(issuer, answer.grant.sub)
        self.note_success(issuer, client, grant.access, user)
        return user_tokens(
            issuer,
            client,
            grant.access,
            user,
            auth_time=grant.auth_time,
            claims=grant.claims,
            refresh_token=answer.refresh_token,
        )


class _RefreshTokenGrant(_Grant):
    GRANT_TYPE = REFRESH_TOKEN_GRANT_TYPE
    success_event = "sertft"

    def tokens(self, issuer: Issuer, client: Client) -> dict[str, Any]:
        refresh_token = self.required("refresh_token")
        family = issuer.state.find_family(refresh_token, client)
        if family is None:
            raise InvalidGrantError(_BAD_REFRESH_TOKEN)
        access, user, claims = family.access, _user(issuer, family.sub), ExtraClaims()
        # One that was used before is not judged further: whatever else it asks for, it ends the family below.
        if family.current_token == refresh_token:
            # RFC 6749 §6: the original scopes or fewer; the family keeps them all for the next time.
            scopes = split_scope(self.request.form.get("scope", "")) or access.scopes
            if not set(access.scopes).issuperset(scopes):
                raise InvalidScopeError("A requested scope was not granted to this refresh token.")
            access = Access(audience=access.audience, scopes=scopes)
            try:
                claims = ask_rules(issuer, user, client, access, REFRESH_PROTOCOL)
            except RuleDenied as exc:
                raise AccessDeniedError("A rule refused the refresh.") from exc
        successor = issuer.state.use(refresh_token, client, address=self.request.address, now=issuer.clock())
        if successor is None:
            issuer.note("ferrt", client_id=client.client_id, ip=self.request.address, user_id=user.sub)
            raise InvalidGrantError(_BAD_REFRESH_TOKEN)
        self.note_success(issuer, client, access, user)
        return user_tokens(
            issuer,
            client,
            access,
            user,
            auth_time=family.auth_time,
            claims=claims,
            refresh_token=successor if client.rotate_refresh_tokens else None,
        )


class _ClientCredentialsGrant(_Grant):
    GRANT_TYPE = CLIENT_CREDENTIALS_GRANT_TYPE
    success_event = "seccft"

    def tokens(self, issuer: Issuer, client: Client) -> dict[str, Any]:
        access = machine_access(issuer, self.request.form)
        self.note_success(issuer, client, access)
        return machine_tokens(issuer, client, access)


def _user(issuer: Issuer, sub: str) -> User:
    user = issuer.config.find_user(sub=sub)
    assert user is not None  # noqa: S101  # only known users approve, and the configuration is frozen
    return user


_BAD_REFRESH_TOKEN = "The refresh token is unknown, ended, used before, or another client's."  # noqa: S105  # a text


def _poll_error(refusal: Refusal) -> OAuth2Error:
    match refusal:
        case Refusal.PENDING:
            return AuthorizationPendingError("The user has not answered yet.")
        case Refusal.TOO_FAST:
            return SlowDownError("The device polls faster than the interval allows.")
        case Refusal.EXPIRED:
            return ExpiredTokenError("The device_code has expired; start again.")
        case Refusal.DENIED:
            return AccessDeniedError("The request was refused.")
        case _:
            return InvalidGrantError("The device_code is unknown, used before, or another client's.")


_SERVER = AuthorizationServer()
for _grant in (_DeviceCodeGrant, _RefreshTokenGrant, _ClientCredentialsGrant):
    _SERVER.register_grant(_grant)
