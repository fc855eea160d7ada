"""Tokens in the shape that each vendor documents, with real signatures: which are accepted, and what is read from them.

The claims' names are those of the vendors' samples and tables; `api/auth/issuers.py` names the documents. The machine
tokens of Entra and Cognito are put together from tables: no sample was found.
"""
# ruff: noqa: E501  # a row is a line

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, get_type_hints

import pytest

from api.auth import (
    AuthConfig,
    AuthEvents,
    ConfigError,
    InsufficientScope,
    InvalidToken,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
    issuers,
)
from api.auth.keys.fetch import Fetched, FetchError
from tests.kit.signing import jwks, rsa_key

NOW = 1_800_000_000
KEY = rsa_key(0)
API = "https://your-api.example"
CLIENT = "client-1"
TENANT, ENTRA_API, ENTRA_CLIENT = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "abc")
TIMES = {"iat": NOW - 10, "exp": NOW + 3600}

AUTH0 = issuers.auth0("tenant.eu.auth0.com", audience=API, permissions=True)
ENTRA = issuers.entra(TENANT, client_id=ENTRA_API)
OKTA = issuers.okta("org.okta.com", audience="api://default")
KEYCLOAK = issuers.keycloak("https://keycloak.example", "tv", audience="api")
LIGHTWEIGHT = issuers.keycloak("https://keycloak.example", "tv", audience="api", lightweight=True)
COGNITO = issuers.cognito("us-west-2", "us-west-2_example", client_ids=[CLIENT, "client-2"])
BOUND = issuers.cognito("us-west-2", "us-west-2_example", client_ids=CLIENT, audience=API)
DUENDE = issuers.duende("https://identity.example", audience=["invoice", "customer"])
PINGONE = issuers.pingone(TENANT, audience=API)
RFC9068 = issuers.rfc9068("https://tenant.logto.app/oidc", audience=API)


class Read(NamedTuple):
    """What is read from a token that is accepted."""

    client: str | None
    scopes: set[str]
    permissions: set[str]
    subject: str | None


class Refused(NamedTuple):
    reason: Reason
    claim: str | None = None


class Row(NamedTuple):
    issuer: TrustedIssuer
    what: str
    typ: str | None
    claims: dict[str, Any]
    outcome: Read | Refused


def without(claims: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in names}


NO_ACCESS_TOKEN = Refused(Reason.TOKEN_TYPE)
LOGOUT = {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s", "jti": "j"}

# fmt: off
# Several claims to a line, as in the vendors' tables.

# --- Auth0 ------------------------------------------------------------------------------------------------------------

_AUTH0 = {"iss": "https://tenant.eu.auth0.com/", **TIMES}
_AUTH0_USER = {
    **_AUTH0,
    "sub": "auth0|1",
    "aud": [API, "https://tenant.eu.auth0.com/userinfo"],
    "azp": CLIENT,
    "scope": "openid read:things",
}
_AUTH0_ID = {**_AUTH0, "sub": "auth0|1", "aud": CLIENT, "nonce": "n", "name": "A", "email": "a@b.example", "sid": "s"}

# --- Entra ------------------------------------------------------------------------------------------------------------

_ENTRA = {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", **TIMES, "nbf": NOW - 10, "aud": ENTRA_API}
_ENTRA_USER = {
    **_ENTRA,
    "azp": ENTRA_CLIENT, "azpacr": "0", "oid": "o", "rh": "r", "sub": "s", "tid": TENANT, "uti": "u", "ver": "2.0",
    "aio": "a", "name": "A", "preferred_username": "a@b.example", "scp": "access_as_user read",
}
_ENTRA_MACHINE = {
    **_ENTRA,
    "azp": ENTRA_CLIENT, "azpacr": "1", "oid": "o", "rh": "r", "sub": "o", "tid": TENANT, "uti": "u", "ver": "2.0",
    "roles": ["Data.Read.All"],
}
_ENTRA_ID = {
    **_ENTRA,
    "sub": "s", "name": "A", "preferred_username": "a@b.example", "oid": "o", "tid": TENANT, "ver": "2.0",
    "rh": "r", "uti": "u", "sid": "i", "groups": ["g"], "aio": "a",
}
_ENTRA_V1 = {
    **without(_ENTRA_USER, "azp", "azpacr", "preferred_username"),
    "iss": f"https://sts.windows.net/{TENANT}/", "aud": f"api://{ENTRA_API}", "appid": ENTRA_CLIENT,
    "appidacr": "0", "acr": "1", "amr": ["pwd"], "ver": "1.0",
}

# --- Okta -------------------------------------------------------------------------------------------------------------

_OKTA = {"iss": "https://org.okta.com/oauth2/default", **TIMES, "ver": 1}
_OKTA_USER = {
    **_OKTA,
    "jti": "AT.1", "aud": "api://default", "cid": "0oa1", "uid": "00u1", "scp": ["openid", "custom"],
    "auth_time": NOW - 20, "sub": "a@b.example",
}
_OKTA_ID = {
    **_OKTA,
    "sub": "00u1", "aud": "0oa1", "jti": "ID.1", "amr": ["pwd"], "idp": "00o1", "auth_time": NOW - 20, "name": "A",
}

# --- Keycloak ---------------------------------------------------------------------------------------------------------

_KEYCLOAK = {"iss": "https://keycloak.example/realms/tv", **TIMES, "jti": "j", "azp": "tv-app"}
_KEYCLOAK_USER = {
    **_KEYCLOAK,
    "auth_time": NOW - 20, "aud": ["api", "account"], "sub": "u", "typ": "Bearer", "sid": "s", "acr": "1",
    "allowed-origins": [], "realm_access": {"roles": ["admin"]}, "resource_access": {},
    "scope": "openid read:things",
}
_KEYCLOAK_MACHINE = {
    **without(_KEYCLOAK_USER, "sid", "auth_time"),
    "azp": "job", "client_id": "job", "clientHost": "10.0.0.1", "clientAddress": "10.0.0.1", "scope": "read:things",
}
_KEYCLOAK_LIGHTWEIGHT = {**_KEYCLOAK, "aud": "api", "typ": "Bearer", "sid": "s", "scope": "read:things"}
_KEYCLOAK_ID = {**without(_KEYCLOAK_USER, "scope", "realm_access"), "typ": "ID", "aud": ["tv-app", "api"]}
_KEYCLOAK_REFRESH = {**_KEYCLOAK, "aud": _KEYCLOAK["iss"], "sub": "u", "typ": "Refresh", "sid": "s", "scope": "openid"}

# --- Cognito ----------------------------------------------------------------------------------------------------------

_COGNITO = {"iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example", **TIMES, "auth_time": NOW - 10}
_COGNITO_USER = {
    **_COGNITO,
    "sub": "u", "device_key": "d", "cognito:groups": ["g"], "version": 2, "client_id": CLIENT, "origin_jti": "o",
    "event_id": "e", "token_use": "access", "scope": "phone api.example/read", "jti": "j", "username": "a",
}
_COGNITO_BOUND = {**_COGNITO_USER, "aud": API}
_COGNITO_MACHINE = {
    **_COGNITO,
    "sub": CLIENT, "token_use": "access", "scope": "api/read", "version": 2, "jti": "j", "client_id": CLIENT,
}
_COGNITO_ID = {
    **_COGNITO,
    "sub": "u", "aud": CLIENT, "email_verified": True, "token_use": "id", "cognito:username": "a", "jti": "j",
    "origin_jti": "o",
}

# --- Duende, PingOne, RFC 9068 ----------------------------------------------------------------------------------------

_DUENDE = {"iss": "https://identity.example", **TIMES, "nbf": NOW - 10}
_DUENDE_USER = {
    **_DUENDE,
    "aud": "invoice", "scope": ["openid", "invoice.read"], "amr": ["pwd"], "client_id": "mobile", "sub": "123",
    "auth_time": NOW - 20, "idp": "local", "sid": "s", "jti": "j",
}
_DUENDE_MACHINE = {**_DUENDE, "aud": "invoice", "scope": ["invoice.read"], "client_id": "m2m", "jti": "j"}
_DUENDE_ID = {
    **_DUENDE,
    "aud": "mobile", "sid": "s", "sub": "123", "auth_time": NOW - 20, "idp": "local", "amr": ["pwd"],
}
_PINGONE = {"iss": f"https://auth.pingone.com/{TENANT}/as", **TIMES}
_PINGONE_USER = {
    **_PINGONE,
    "aud": [API], "client_id": CLIENT, "scope": "read:things", "sub": "u", "sid": "s", "acr": "Single_Factor",
    "auth_time": NOW - 20,
}
_PINGONE_MACHINE = {**_PINGONE, "aud": [API], "client_id": CLIENT, "scope": "read:things"}
_LOGTO_USER = {
    "iss": "https://tenant.logto.app/oidc", **TIMES, "sub": "u", "aud": API, "client_id": CLIENT, "jti": "j",
    "scope": "read:things",
}

ROWS = [
    Row(AUTH0, "user", "JWT", _AUTH0_USER, Read(CLIENT, {"openid", "read:things"}, set(), "auth0|1")),
    Row(AUTH0, "user, with permissions", "JWT", {**_AUTH0_USER, "permissions": ["read:things", "write:things"], "org_id": "org_1"}, Read(CLIENT, {"openid", "read:things"}, {"read:things", "write:things"}, "auth0|1")),
    Row(issuers.auth0("tenant.eu.auth0.com", audience=API), "user, with permissions that do not count", "JWT", {**_AUTH0_USER, "permissions": ["write:things"]}, Read(CLIENT, {"openid", "read:things"}, set(), "auth0|1")),
    Row(AUTH0, "machine", "JWT", {**_AUTH0, "sub": f"{CLIENT}@clients", "aud": API, "azp": CLIENT, "gty": "client-credentials", "scope": "read:a"}, Read(CLIENT, {"read:a"}, set(), f"{CLIENT}@clients")),
    Row(AUTH0, "user, RFC 9068 profile", "at+jwt", {**without(_AUTH0_USER, "azp"), "client_id": CLIENT, "jti": "j"}, Read(CLIENT, {"openid", "read:things"}, set(), "auth0|1")),
    Row(AUTH0, "agent, RFC 9068 profile", "at+jwt", {**_AUTH0, "sub": "agt_1", "sub_profile": "ai_agent", "client_id": CLIENT, "aud": API, "scope": "read:a"}, Read(CLIENT, {"read:a"}, set(), "agt_1")),
    Row(AUTH0, "ID token", "JWT", _AUTH0_ID, Refused(Reason.TOKEN_TYPE, "nonce")),
    Row(AUTH0, "ID token for the API, no nonce", "JWT", {**without(_AUTH0_ID, "nonce"), "aud": API}, Refused(Reason.CLAIM_MISSING, "client_id or azp")),
    Row(AUTH0, "logout token for the API", "JWT", {**_AUTH0, **LOGOUT, "sub": "auth0|1", "aud": API}, Refused(Reason.TOKEN_TYPE, "events")),
    Row(AUTH0, "logout token of its type", "logout+jwt", {**_AUTH0, **LOGOUT, "aud": API}, NO_ACCESS_TOKEN),
    Row(AUTH0, "for userinfo alone", "JWT", {**_AUTH0_USER, "aud": "https://tenant.eu.auth0.com/userinfo"}, Refused(Reason.AUDIENCE, "aud")),
    Row(AUTH0, "issuer without the slash", "JWT", {**_AUTH0_USER, "iss": "https://tenant.eu.auth0.com"}, Refused(Reason.ISSUER, "iss")),
    Row(AUTH0, "sender-constrained", "JWT", {**_AUTH0_USER, "cnf": {"jkt": "x"}}, Refused(Reason.KEY_BOUND, "cnf")),
    Row(ENTRA, "user", "JWT", _ENTRA_USER, Read(ENTRA_CLIENT, {"access_as_user", "read"}, set(), "s")),
    Row(ENTRA, "user, with roles", "JWT", {**_ENTRA_USER, "roles": ["Reader"]}, Read(ENTRA_CLIENT, {"access_as_user", "read"}, set(), "s")),
    Row(issuers.entra(TENANT, client_id=ENTRA_API, user_roles=True), "user, with roles that count", "JWT", {**_ENTRA_USER, "roles": ["Reader"]}, Read(ENTRA_CLIENT, {"access_as_user", "read"}, {"Reader"}, "s")),
    Row(issuers.entra(TENANT, client_id=ENTRA_API, user_roles=True), "machine, where users' roles count", "JWT", _ENTRA_MACHINE, Read(ENTRA_CLIENT, set(), {"Data.Read.All"}, "o")),
    Row(ENTRA, "user without scopes, with roles", "JWT", {**_ENTRA_USER, "scp": "", "roles": ["Reader"]}, Read(ENTRA_CLIENT, set(), set(), "s")),
    Row(ENTRA, "machine", "JWT", _ENTRA_MACHINE, Read(ENTRA_CLIENT, set(), {"Data.Read.All"}, "o")),
    Row(ENTRA, "ID token", "JWT", {**_ENTRA_ID, "nonce": "n"}, Refused(Reason.TOKEN_TYPE, "nonce")),
    Row(ENTRA, "ID token without nonce", "JWT", _ENTRA_ID, Refused(Reason.CLAIM_MISSING, "azp")),
    Row(ENTRA, "ID token with roles, without nonce", "JWT", {**_ENTRA_ID, "roles": ["Reader"]}, Refused(Reason.CLAIM_MISSING, "azp")),
    Row(ENTRA, "machine without roles", "JWT", without(_ENTRA_MACHINE, "roles"), Refused(Reason.CLAIM_MISSING, "scp or roles")),
    Row(ENTRA, "another tenant's", "JWT", {**_ENTRA_USER, "iss": f"https://login.microsoftonline.com/{ENTRA_CLIENT}/v2.0", "tid": ENTRA_CLIENT}, Refused(Reason.ISSUER, "iss")),
    Row(ENTRA, "version 1", "JWT", _ENTRA_V1, Refused(Reason.ISSUER, "iss")),
    Row(ENTRA, "Graph's", "JWT", {**_ENTRA_USER, "aud": "00000003-0000-0000-c000-000000000000"}, Refused(Reason.AUDIENCE, "aud")),
    Row(ENTRA, "another type", "secevent+jwt", _ENTRA_USER, NO_ACCESS_TOKEN),
    Row(OKTA, "user", None, _OKTA_USER, Read("0oa1", {"openid", "custom"}, set(), "a@b.example")),
    Row(OKTA, "machine", None, {**without(_OKTA_USER, "uid", "auth_time"), "scp": ["custom"], "sub": "0oa1"}, Read("0oa1", {"custom"}, set(), "0oa1")),
    Row(OKTA, "ID token", None, {**_OKTA_ID, "nonce": "n", "at_hash": "h"}, Refused(Reason.TOKEN_TYPE, "at_hash")),
    Row(OKTA, "ID token for the API, no nonce", None, {**_OKTA_ID, "aud": "api://default"}, Refused(Reason.CLAIM_MISSING, "cid")),
    Row(OKTA, "without scopes", None, without(_OKTA_USER, "scp"), Refused(Reason.CLAIM_MISSING, "scp")),
    Row(OKTA, "org server's", None, {**_OKTA_USER, "iss": "https://org.okta.com", "aud": "https://org.okta.com"}, Refused(Reason.ISSUER, "iss")),
    Row(OKTA, "DPoP-bound", None, {**_OKTA_USER, "cnf": {"jkt": "x"}}, Refused(Reason.KEY_BOUND, "cnf")),
    Row(KEYCLOAK, "user", "JWT", _KEYCLOAK_USER, Read("tv-app", {"openid", "read:things"}, set(), "u")),
    Row(KEYCLOAK, "user, at+jwt", "at+jwt", _KEYCLOAK_USER, Read("tv-app", {"openid", "read:things"}, set(), "u")),
    Row(KEYCLOAK, "user, before 25 with nonce", "JWT", {**_KEYCLOAK_USER, "nonce": "n", "session_state": "s"}, Read("tv-app", {"openid", "read:things"}, set(), "u")),
    Row(KEYCLOAK, "service account", "JWT", _KEYCLOAK_MACHINE, Read("job", {"read:things"}, set(), "u")),
    Row(KEYCLOAK, "user, client_id of a mapper", "JWT", {**_KEYCLOAK_USER, "client_id": "x"}, Read("tv-app", {"openid", "read:things"}, set(), "u")),
    Row(KEYCLOAK, "user, client_id that is no string", "JWT", {**_KEYCLOAK_USER, "client_id": 7}, Refused(Reason.CLAIM_MALFORMED, "client_id")),
    Row(KEYCLOAK, "no client", "JWT", without(_KEYCLOAK_USER, "azp"), Refused(Reason.CLAIM_MISSING, "azp")),
    Row(LIGHTWEIGHT, "lightweight", "JWT", _KEYCLOAK_LIGHTWEIGHT, Read("tv-app", {"read:things"}, set(), None)),
    Row(LIGHTWEIGHT, "user", "JWT", _KEYCLOAK_USER, Read("tv-app", {"openid", "read:things"}, set(), "u")),
    Row(KEYCLOAK, "lightweight, not configured", "JWT", _KEYCLOAK_LIGHTWEIGHT, Refused(Reason.CLAIM_MISSING, "sub")),
    Row(LIGHTWEIGHT, "lightweight without audience mapper", "JWT", without(_KEYCLOAK_LIGHTWEIGHT, "aud"), Refused(Reason.CLAIM_MISSING, "aud")),
    Row(KEYCLOAK, "ID token for the API", "JWT", _KEYCLOAK_ID, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(LIGHTWEIGHT, "ID token for the API", "JWT", _KEYCLOAK_ID, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(KEYCLOAK, "refresh token, RS256", "JWT", _KEYCLOAK_REFRESH, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(KEYCLOAK, "offline token for the API", "JWT", {**_KEYCLOAK_REFRESH, "typ": "Offline", "aud": "api"}, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(KEYCLOAK, "logout token before 25", "JWT", {**_KEYCLOAK, **LOGOUT, "typ": "Logout", "sub": "u", "aud": "api"}, Refused(Reason.TOKEN_TYPE, "events")),
    Row(KEYCLOAK, "logout token", "logout+jwt", {**_KEYCLOAK, **LOGOUT, "typ": "Logout", "sub": "u", "aud": "api"}, NO_ACCESS_TOKEN),
    Row(KEYCLOAK, "a kind to come", "JWT", {**_KEYCLOAK_USER, "typ": "Serialized-ID"}, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(KEYCLOAK, "bearer", "JWT", {**_KEYCLOAK_USER, "typ": "bearer"}, Refused(Reason.TOKEN_TYPE, "typ")),
    Row(KEYCLOAK, "no kind", "JWT", without(_KEYCLOAK_USER, "typ"), Refused(Reason.CLAIM_MISSING, "typ")),
    Row(KEYCLOAK, "DPoP-bound", "JWT", {**_KEYCLOAK_USER, "typ": "DPoP", "cnf": {"jkt": "x"}}, Refused(Reason.KEY_BOUND, "cnf")),
    Row(KEYCLOAK, "no audience mapper", "JWT", without(_KEYCLOAK_USER, "aud"), Refused(Reason.CLAIM_MISSING, "aud")),
    Row(COGNITO, "user", None, _COGNITO_USER, Read(CLIENT, {"phone", "api.example/read"}, set(), "u")),
    Row(COGNITO, "machine", None, _COGNITO_MACHINE, Read(CLIENT, {"api/read"}, set(), CLIENT)),
    Row(BOUND, "user, bound to the API", None, _COGNITO_BOUND, Read(CLIENT, {"phone", "api.example/read"}, set(), "u")),
    Row(BOUND, "user, bound to no API", None, _COGNITO_USER, Read(CLIENT, {"phone", "api.example/read"}, set(), "u")),
    Row(COGNITO, "bound, no audience configured", None, _COGNITO_BOUND, Refused(Reason.AUDIENCE, "aud")),
    Row(BOUND, "bound to another API", None, {**_COGNITO_USER, "aud": "https://other.example"}, Refused(Reason.AUDIENCE, "aud")),
    Row(COGNITO, "ID token", None, _COGNITO_ID, Refused(Reason.TOKEN_TYPE, "token_use")),
    Row(BOUND, "ID token for the API with client_id and scope", None, {**_COGNITO_ID, "aud": API, "client_id": CLIENT, "scope": "api.example/read"}, Refused(Reason.TOKEN_TYPE, "token_use")),
    Row(COGNITO, "no token_use", None, without(_COGNITO_USER, "token_use"), Refused(Reason.CLAIM_MISSING, "token_use")),
    Row(COGNITO, "another app client's", None, {**_COGNITO_USER, "client_id": "client-3"}, Refused(Reason.AUDIENCE, "client_id")),
    Row(COGNITO, "no client", None, without(_COGNITO_USER, "client_id"), Refused(Reason.CLAIM_MISSING, "client_id")),
    Row(DUENDE, "user", "at+jwt", _DUENDE_USER, Read("mobile", {"openid", "invoice.read"}, set(), "123")),
    Row(DUENDE, "machine", "at+jwt", _DUENDE_MACHINE, Read("m2m", {"invoice.read"}, set(), None)),
    Row(DUENDE, "several resources, scope as a string", "at+jwt", {**_DUENDE_USER, "aud": ["customer", "other"], "scope": "customer.read"}, Read("mobile", {"customer.read"}, set(), "123")),
    Row(DUENDE, "ID token", "JWT", {**_DUENDE_ID, "nonce": "n"}, NO_ACCESS_TOKEN),
    Row(DUENDE, "ID token for the API", "JWT", {**_DUENDE_ID, "aud": "invoice"}, NO_ACCESS_TOKEN),
    Row(DUENDE, "logout token", "logout+jwt", {**_DUENDE, **LOGOUT, "aud": "invoice"}, NO_ACCESS_TOKEN),
    Row(DUENDE, "introspection answer", "token-introspection+jwt", {**_DUENDE, "aud": "invoice"}, NO_ACCESS_TOKEN),
    Row(DUENDE, "no type", None, _DUENDE_USER, NO_ACCESS_TOKEN),
    Row(DUENDE, "API scopes only", "at+jwt", without(_DUENDE_USER, "aud"), Refused(Reason.CLAIM_MISSING, "aud")),
    Row(DUENDE, "no client", "at+jwt", without(_DUENDE_USER, "client_id"), Refused(Reason.CLAIM_MISSING, "client_id")),
    Row(PINGONE, "user", "at+jwt", _PINGONE_USER, Read(CLIENT, {"read:things"}, set(), "u")),
    Row(PINGONE, "machine", "at+jwt", _PINGONE_MACHINE, Read(CLIENT, {"read:things"}, set(), None)),
    Row(PINGONE, "access token without type", None, _PINGONE_USER, NO_ACCESS_TOKEN),
    Row(PINGONE, "ID token for the API", None, {**_PINGONE, "sub": "u", "aud": API}, NO_ACCESS_TOKEN),
    Row(RFC9068, "user", "at+jwt", _LOGTO_USER, Read(CLIENT, {"read:things"}, set(), "u")),
    Row(RFC9068, "user, the type in full", "application/at+jwt", _LOGTO_USER, Read(CLIENT, {"read:things"}, set(), "u")),
    Row(RFC9068, "ID token for the API", "JWT", without(_LOGTO_USER, "client_id", "scope"), NO_ACCESS_TOKEN),
    Row(RFC9068, "no client", "at+jwt", without(_LOGTO_USER, "client_id"), Refused(Reason.CLAIM_MISSING, "client_id")),
    Row(RFC9068, "no subject", "at+jwt", without(_LOGTO_USER, "sub"), Refused(Reason.CLAIM_MISSING, "sub")),
]
# fmt: on


def verifier(*trusted: TrustedIssuer, events: AuthEvents | None = None) -> TokenVerifier:
    """Return a verifier; all issuers have discovery where they document it, and the same key."""
    documents = {
        f"{one.identifier.rstrip('/')}/.well-known/openid-configuration": json.dumps(
            {"issuer": one.identifier, "jwks_uri": "https://keys.example/"}
        ).encode()
        for one in trusted
    }
    documents["https://keys.example/"] = jwks(KEY)

    def fetch(url: str, _seconds: float) -> Fetched:
        if url not in documents:
            raise FetchError("no answer")
        return Fetched(documents[url], None)

    return TokenVerifier(AuthConfig(issuers=trusted), events=events, fetch=fetch, now=lambda: NOW)


def outcome(row: Row, judge: TokenVerifier) -> Read | Refused:
    try:
        token = judge.verify(KEY.sign(row.claims, typ=row.typ))
    except InvalidToken as refusal:
        return Refused(refusal.reason, refusal.claim)
    return Read(token.client_id, set(token.scopes), set(token.permissions), token.subject_or_none)


def preset_name(issuer: TrustedIssuer) -> str:
    return issuer.identifier.split("/")[2]


@pytest.mark.parametrize("row", ROWS, ids=[f"{preset_name(row.issuer)}: {row.what}" for row in ROWS])
def test_tokens_as_the_vendor_documents_them(row: Row) -> None:
    judge = verifier(row.issuer)
    assert outcome(row, judge) == row.outcome
    assert outcome(row, judge) == row.outcome  # from the caches


@pytest.mark.parametrize("row", ROWS, ids=[f"{preset_name(row.issuer)}: {row.what}" for row in ROWS])
def test_trusting_other_vendors_as_well_changes_nothing(row: Row) -> None:
    # All headers are equal but for `typ`, and so cached for all.
    others = (AUTH0, ENTRA, OKTA, KEYCLOAK, COGNITO, DUENDE, PINGONE, RFC9068)
    judge = verifier(row.issuer, *(one for one in others if one.identifier != row.issuer.identifier))
    for other in ROWS:
        if other.issuer in others and isinstance(other.outcome, Read):
            outcome(other, judge)
    assert outcome(row, judge) == row.outcome


def test_every_preset_has_rows() -> None:
    functions = [make for _, make in inspect.getmembers(issuers, inspect.isfunction)]
    own = {make.__name__ for make in functions if make.__module__ == issuers.__name__}
    assert {name for name in own if not name.startswith("_")} == set(issuers.PRESETS)
    identifiers = {row.issuer.identifier for row in ROWS}
    made = {AUTH0, ENTRA, OKTA, KEYCLOAK, COGNITO, DUENDE, PINGONE, RFC9068}
    assert len(made) == len(issuers.PRESETS)
    assert {one.identifier for one in made} == identifiers


# --- Two vendors at once ----------------------------------------------------------------------------------------------

_MORE_CLAIMS = {"permissions": ["admin"], "roles": ["admin"], "scp": ["admin"], "cid": "admin"}


@pytest.mark.parametrize(
    ("claims", "typ", "granted", "client"),
    [
        (_KEYCLOAK_USER, "JWT", {"openid", "read:things"}, "tv-app"),
        (_AUTH0_USER, "JWT", {"openid", "read:things", "admin"}, CLIENT),
        (_DUENDE_USER, "at+jwt", {"openid", "invoice.read"}, "mobile"),
        ({**_ENTRA_USER, "scope": "write"}, "JWT", {"admin"}, ENTRA_CLIENT),
        ({**_OKTA_USER, "scope": "write"}, None, {"admin"}, "admin"),
    ],
    ids=["keycloak", "auth0", "duende", "entra", "okta"],
)
def test_a_claim_that_grants_at_one_issuer_grants_nothing_at_another(
    claims: dict[str, Any], typ: str | None, granted: set[str], client: str
) -> None:
    judge = verifier(AUTH0, KEYCLOAK, DUENDE, ENTRA, OKTA)
    token = judge.verify(KEY.sign({**claims, **_MORE_CLAIMS}, typ=typ))
    assert (set(token.granted), token.client_id) == (granted, client)


def test_the_roles_of_a_user_do_not_widen_what_the_app_was_granted() -> None:
    token = KEY.sign({**_ENTRA_USER, "scp": "read:orders", "roles": ["write:orders"]}, typ="JWT")
    writing = Requirement(scopes=("write:orders",))
    verifier(ENTRA).verify(token, Requirement(scopes=("read:orders",)))
    with pytest.raises(InsufficientScope):
        verifier(ENTRA).verify(token, writing)
    counting = issuers.entra(TENANT, client_id=ENTRA_API, user_roles=True)
    verifier(counting).verify(token, writing)
    verifier(ENTRA).verify(KEY.sign({**_ENTRA_MACHINE, "roles": ["write:orders"]}, typ="JWT"), writing)


def test_a_type_of_one_issuer_is_refused_of_another() -> None:
    judge = verifier(AUTH0, DUENDE)
    judge.verify(KEY.sign(_AUTH0_USER, typ="JWT"))  # this header is now cached
    with pytest.raises(InvalidToken) as caught:
        judge.verify(KEY.sign(_DUENDE_USER, typ="JWT"))
    assert caught.value.reason is Reason.TOKEN_TYPE


def test_the_subject_of_one_issuer_is_not_optional_at_another() -> None:
    judge = verifier(DUENDE, RFC9068)
    assert judge.verify(KEY.sign(_DUENDE_MACHINE)).subject_or_none is None
    with pytest.raises(InvalidToken):
        judge.verify(KEY.sign(without(_LOGTO_USER, "sub")))


def test_a_route_that_narrows_the_audience_narrows_the_client_where_it_is_the_audience() -> None:
    judge = verifier(COGNITO)
    token = KEY.sign(_COGNITO_USER, typ=None)
    assert judge.verify(token, Requirement(audiences=(CLIENT,))).client_id == CLIENT
    with pytest.raises(InvalidToken) as caught:
        judge.verify(token, Requirement(audiences=("client-2",)))
    assert (caught.value.reason, caught.value.claim) == (Reason.AUDIENCE, "client_id")


def test_the_claim_at_fault_is_reported() -> None:
    recorded: list[object] = []

    class Events(AuthEvents):
        def token_refused(self, reason: Reason, *, claim: str | None) -> None:
            recorded.append((reason, claim))

    judge = verifier(ENTRA, events=Events())
    with pytest.raises(InvalidToken):
        judge.verify(KEY.sign(_ENTRA_ID, typ="JWT"))
    assert recorded == [(Reason.CLAIM_MISSING, "azp")]


# --- Arguments --------------------------------------------------------------------------------------------------------

GUID = TENANT
WRONG: list[tuple[Callable[[], TrustedIssuer], str]] = [
    (lambda: issuers.auth0("https://tenant.eu.auth0.com/", audience=API), "without https://"),
    (lambda: issuers.auth0("tenant.eu.auth0.com/", audience=API), "without https://"),
    (lambda: issuers.auth0("tenant", audience=API), "such as tenant.eu.auth0.com"),
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience=""), "audience must be"),
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience=[]), "audience must be"),
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience=None), "audience must be"),  # type: ignore[arg-type]
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience=[API, 1]), "audience must be"),  # type: ignore[list-item]
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience="a\u200b"), "invisible"),
    (lambda: issuers.auth0("tenant.eu.auth0.com", audience=API, jwks_url="http://x.example"), "jwks_url"),
    (lambda: issuers.entra("common", client_id=GUID), "several tenants"),
    (lambda: issuers.entra("organizations", client_id=GUID), "several tenants"),
    (lambda: issuers.entra("consumers", client_id=GUID), "several tenants"),
    (lambda: issuers.entra("contoso.onmicrosoft.com", client_id=GUID), "Directory (tenant) ID"),
    (lambda: issuers.entra(f"{GUID}\n", client_id=GUID), "Directory (tenant) ID"),
    (lambda: issuers.entra(GUID, client_id=f"api://{GUID}"), "Application (client) ID"),
    (lambda: issuers.entra(GUID, client_id=()), "client_id must be"),
    (lambda: issuers.okta("org.okta.com", audience="a", server=""), "org authorization server"),
    (lambda: issuers.okta("org.okta.com/oauth2/default", audience="a"), "such as org.okta.com"),
    (lambda: issuers.keycloak("keycloak.example", "tv", audience="a"), "must be an https URL"),
    (lambda: issuers.keycloak("https://keycloak.example?a", "tv", audience="a"), "no query"),
    (lambda: issuers.keycloak("https://keycloak.example", "a/b", audience="a"), "is no realm's name"),
    (lambda: issuers.cognito("us-west-2", "example", client_ids="c"), "such as eu-central-1_"),
    (lambda: issuers.cognito("us-west-1", "us-west-2_example", client_ids="c"), "not that of the user pool"),
    (lambda: issuers.cognito("us-west-2", "us-west-2_example", client_ids=[]), "client_ids must be"),
    (lambda: issuers.cognito("us-west-2", "us-west-2_example", client_ids="c", audience=[""]), "audience must be"),
    (lambda: issuers.cognito("us-west-2", "us-west-2_example", client_ids="c", issuer="x"), "https URL"),
    (lambda: issuers.duende("identity.example", audience="a"), "https URL"),
    (lambda: issuers.pingone("environment", audience="a"), "no GUID"),
    (lambda: issuers.pingone(GUID, audience="a", domain="https://auth.pingone.eu"), "such as auth.pingone.eu"),
    (lambda: issuers.rfc9068("http://issuer.example", audience="a"), "https URL"),
]


@pytest.mark.parametrize(("make", "text"), WRONG, ids=range(len(WRONG)))
def test_mistakes_say_what_to_write(make: Callable[[], TrustedIssuer], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    (mistake,) = caught.value.mistakes
    assert text in mistake
    assert mistake.endswith(".")


@pytest.mark.parametrize("name", issuers.PRESETS)
@pytest.mark.parametrize("value", [7, b"a.example", [7]])
def test_a_mistake_names_the_preset_and_the_argument(name: str, value: object) -> None:
    make = issuers.PRESETS[name]
    names = inspect.signature(make).parameters.keys() - {"jwks_url", "permissions", "lightweight", "user_roles"}
    with pytest.raises(ConfigError) as caught:
        make(**dict.fromkeys(names, value))
    # A region is compared with a user pool that is well-formed.
    expected = {(f"{name}:", argument) for argument in names - {"region"}}
    assert {tuple(mistake.split()[:2]) for mistake in caught.value.mistakes} == expected
    assert len(caught.value.mistakes) == len(expected)


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda url: issuers.rfc9068(url, audience="a"), "rfc9068: issuer"),
        (lambda url: issuers.keycloak(url, "tv", audience="a"), "keycloak: base_url"),
        (lambda url: issuers.cognito("us-west-2", "us-west-2_a", client_ids="c", issuer=url), "cognito: issuer"),
        (lambda url: issuers.duende(url, audience="a"), "duende: issuer"),
    ],
)
@pytest.mark.parametrize("url", ["", "a.example", "http://a.example", "https://a.example?b", "https://a.example/#b"])
def test_addresses_are_checked_as_they_were_written(make: Callable[[str], TrustedIssuer], start: str, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(url)
    text = "must be an https URL (http on loopback only), no query, no fragment."
    assert caught.value.mistakes == (f"{start} {url!r} {text}",)


def test_all_mistakes_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        issuers.okta("https://org.okta.com", audience=[], server="")
    assert len(caught.value.mistakes) == 3


@pytest.mark.parametrize("name", issuers.PRESETS)
@pytest.mark.parametrize("jwks_url", ["http://x.example", 5])
def test_a_mistake_in_the_address_of_the_keys_is_told_with_those_in_other_arguments(name: str, jwks_url: Any) -> None:
    make = issuers.PRESETS[name]
    wrong = [one.name for one in inspect.signature(make).parameters.values() if one.default is one.empty]
    with pytest.raises(ConfigError) as caught:
        make(**dict.fromkeys(wrong), jwks_url=jwks_url)
    mistakes = caught.value.mistakes
    assert mistakes[-1] == f"{name}: jwks_url {jwks_url!r} must be an https URL (http on loopback only)."
    assert len(mistakes) > 1


def test_an_invisible_character_is_told_with_other_mistakes() -> None:
    with pytest.raises(ConfigError) as caught:
        issuers.auth0("https://tenant.eu.auth0.com", audience=(API, "a\u200b"))
    assert [mistake.split("'")[0] for mistake in caught.value.mistakes] == ["auth0: domain ", "auth0: audience "]


def test_the_case_of_hosts_and_guids_does_not_matter() -> None:
    assert issuers.auth0("Tenant.EU.auth0.com", audience=API).identifier == AUTH0.identifier
    assert issuers.entra(TENANT.upper(), client_id=ENTRA_API.upper()) == ENTRA


def test_several_audiences_and_a_slash_after_the_base() -> None:
    made = issuers.keycloak("https://keycloak.example/auth/", "tv", audience=("a", "b"))
    assert (made.identifier, made.audiences) == ("https://keycloak.example/auth/realms/tv", ("a", "b"))


def test_the_rules_can_be_kept_for_an_issuer_on_this_machine() -> None:
    local = replace(KEYCLOAK, identifier="http://127.0.0.1:9000/")
    judge = verifier(local)
    assert judge.verify(KEY.sign({**_KEYCLOAK_USER, "iss": local.identifier}, typ="JWT")).client_id == "tv-app"
    with pytest.raises(InvalidToken):
        judge.verify(KEY.sign({**_KEYCLOAK_ID, "iss": local.identifier}, typ="JWT"))


def test_another_identifier_of_a_user_pool() -> None:
    other = "https://issuer.example/us-west-2_example"
    made = issuers.cognito("us-west-2", "us-west-2_example", client_ids="c", issuer=other)
    assert made.identifier == other


@pytest.mark.parametrize("name", issuers.PRESETS)
def test_every_preset_takes_the_address_of_the_keys(name: str) -> None:
    make = issuers.PRESETS[name]
    required = {
        "domain": "a.example", "tenant_id": GUID, "environment_id": GUID, "client_id": GUID, "client_ids": "c",
        "base_url": "https://a.example", "realm": "r", "region": "us-west-2", "user_pool": "us-west-2_a",
        "issuer": "https://a.example", "audience": "a",
    }  # fmt: skip
    parameters = inspect.signature(make).parameters.values()
    arguments = {one.name: required[one.name] for one in parameters if one.default is one.empty}
    assert make(**arguments, jwks_url="https://keys.example/").jwks_url == "https://keys.example/"
    assert get_type_hints(make)["return"] is TrustedIssuer
