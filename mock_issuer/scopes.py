"""Which audience and scopes a request gets (RFC 6749 §3.3)."""

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError

from mock_issuer.config import OPENID_SCOPES, REFRESH_TOKEN_GRANT_TYPE, Api, Client
from mock_issuer.errors import InvalidTargetError
from mock_issuer.issuer import Issuer
from mock_issuer.records import Access


def split_scope(scope: str) -> tuple[str, ...]:
    """Split on U+0020 and nothing else, and drop repetitions; the order stays."""
    return tuple(dict.fromkeys(word for word in scope.split(" ") if word))


def user_access(issuer: Issuer, client: Client, form: dict[str, str]) -> Access:
    """Tell what a client asks a user for.

    Without an audience a request is for `/userinfo`, and needs `openid`. Without a scope it is for all scopes of
    the API. `offline_access` is left out where the API or the client has no refresh tokens.

    Raises InvalidRequestError for a missing audience, InvalidTargetError for an unknown one, InvalidScopeError for
    a scope that is neither the API's nor OpenID Connect's.
    """
    scopes = split_scope(form.get("scope", ""))
    if "audience" not in form and ("openid" not in scopes or not OPENID_SCOPES.keys() >= set(scopes)):
        raise InvalidRequestError("The audience is missing; only OpenID Connect scopes with openid do without.")
    api = _find_api(issuer, form["audience"]) if "audience" in form else issuer.userinfo
    _check(scopes, {*api.scopes, *OPENID_SCOPES})
    scopes = scopes or tuple(api.scopes)
    if not (api.allow_offline_access and client.check_grant_type(REFRESH_TOKEN_GRANT_TYPE)):
        scopes = tuple(scope for scope in scopes if scope != "offline_access")
    return Access(audience=api.audience, scopes=scopes)


def machine_access(issuer: Issuer, form: dict[str, str]) -> Access:
    """Tell what a client asks for itself: exactly the scopes it names, or all of the API.

    Raises as user_access does; there is no user, so OpenID Connect's scopes are unknown here.
    """
    if "audience" not in form:
        raise InvalidRequestError("The audience is missing.")
    api = _find_api(issuer, form["audience"])
    scopes = split_scope(form.get("scope", ""))
    _check(scopes, set(api.scopes))
    return Access(audience=api.audience, scopes=scopes or tuple(api.scopes))


def _find_api(issuer: Issuer, audience: str) -> Api:
    api = issuer.config.find_api(audience)
    if api is None:
        raise InvalidTargetError("No API has this audience.")
    return api


def _check(scopes: tuple[str, ...], known: set[str]) -> None:
    if not known.issuperset(scopes):
        raise InvalidScopeError("A requested scope is unknown.")
