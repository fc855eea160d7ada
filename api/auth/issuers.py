"""`TrustedIssuer` for the access tokens of several vendors: what their documentation says of the tokens, as data.

Each preset refuses the vendor's ID, refresh and logout tokens, those that name this API as their audience too. It does
not ask the vendor anything; keys come from discovery, or from `jwks_url`. For another issuer, write a `TrustedIssuer`.

`audience` is the identifier of this API at the issuer, or several. All presets raise ConfigError with every mistake.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from .config import (
    ConfigError,
    TrustedIssuer,
    is_secure_url,
    mistakes_in_audiences,
    mistakes_in_jwks_url,
    without_credentials,
)

OneOrSeveral = str | Iterable[str]

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*", re.IGNORECASE)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# One segment of a path, without a character that would have to be escaped.
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_USER_POOL = re.compile(r"(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)_[A-Za-z0-9]+")
# What Microsoft allows in place of a tenant's id, for several tenants.
_ENTRA_ALIASES = frozenset({"common", "organizations", "consumers"})


def rfc9068(issuer: str, *, audience: OneOrSeveral, jwks_url: str | None = None) -> TrustedIssuer:
    """Return an issuer whose access tokens follow RFC 9068, such as Logto, or another vendor's that was set up so.

    `issuer` is its identifier. Refused: all tokens whose `typ` is not `at+jwt`, and so every ID, refresh and logout
    token (`token_type`); tokens without `client_id` (RFC 9068 §2.2).
    """
    audiences, mistakes = _several("rfc9068", "audience", audience)
    _refuse("rfc9068", [*_url("rfc9068", "issuer", issuer), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=issuer,
        audiences=audiences,
        jwks_url=jwks_url,
        token_types=("at+jwt",),
        client_id_claims=("client_id",),
        one_of_claims=(("client_id",),),
    )


def auth0(
    domain: str, *, audience: OneOrSeveral, permissions: bool = False, jwks_url: str | None = None
) -> TrustedIssuer:
    """Return an Auth0 tenant, for both of its token profiles (Auth0 docs, "Access Token Profiles").

    `domain` is the tenant's, `tenant.eu.auth0.com`, or a custom one; `audience` is the API's Identifier. `permissions`
    counts the claim of that name, which an API has with RBAC and "Add Permissions in the Access Token" on: all
    permissions of the user, more than the app was granted; `scope` has what both have.

    Refused: ID tokens, which have neither `client_id` nor `azp` ("ID Token Structure"; `claim_missing`); logout tokens
    by `events` ("OIDC Back-Channel Logout"; `token_type`). Refresh tokens are opaque.
    """
    audiences, mistakes = _several("auth0", "audience", audience)
    _refuse("auth0", [*_host("auth0", domain, "tenant.eu.auth0.com"), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=f"https://{domain.lower()}/",
        audiences=audiences,
        jwks_url=jwks_url,
        scope_claims=("scope", "permissions") if permissions else ("scope",),
        one_of_claims=(("client_id", "azp"),),
    )


def entra(
    tenant_id: str, *, client_id: OneOrSeveral, user_roles: bool = False, jwks_url: str | None = None
) -> TrustedIssuer:
    """Return a tenant of Microsoft Entra ID, for access tokens of version 2 ("Access token claims reference").

    `tenant_id` is the tenant's GUID: trust several tenants as several issuers. `client_id` is the Application (client)
    ID of the API's registration, whose manifest must have `requestedAccessTokenVersion` 2. An app with signing keys of
    its own needs `jwks_url`, its address in the metadata with `?appid=`.

    `roles` of a token without `scp`, which an app got for itself, become `permissions`. In a user's token they are the
    user's roles, which may be more than the app was granted: `user_roles` counts them there too.

    Refused: ID tokens, which have the same `typ`, the same audience if the API also logs users in, and perhaps `roles`,
    but no `azp` ("ID token claims reference"; `claim_missing`); tokens with neither `scp` nor `roles`; tokens of
    version 1 (`issuer`).
    """
    mistakes = []
    if not isinstance(tenant_id, str) or _GUID.fullmatch(tenant_id) is None:
        why = (
            "means several tenants: trust each as an issuer of its own"
            if isinstance(tenant_id, str) and tenant_id in _ENTRA_ALIASES
            else "is no GUID: write the Directory (tenant) ID, since tokens name no domain"
        )
        mistakes.append(f"entra: tenant_id {tenant_id!r} {why}.")
    client_ids, mistakes_in_ids = _several("entra", "client_id", client_id)
    mistakes += mistakes_in_ids or [
        f"entra: client_id {one!r} is no GUID: write the Application (client) ID, which version 2 has in aud."
        for one in client_ids
        if _GUID.fullmatch(one) is None
    ]
    _refuse("entra", mistakes, jwks_url)
    return TrustedIssuer(
        identifier=f"https://login.microsoftonline.com/{tenant_id.lower()}/v2.0",
        audiences=tuple(one.lower() for one in client_ids),
        jwks_url=jwks_url,
        scope_claims=("scp", "roles") if user_roles else ("scp",),
        app_scope_claims=() if user_roles else ("roles",),
        client_id_claims=("azp",),
        one_of_claims=(("azp",), ("scp", "roles")),
    )


def okta(domain: str, *, audience: OneOrSeveral, server: str = "default", jwks_url: str | None = None) -> TrustedIssuer:
    """Return a custom authorization server of Okta ("OpenID Connect & OAuth 2.0 API", section "Access token").

    `domain` is the org's, `org.okta.com`, or a custom one. `server` is the server's id. The org authorization server,
    whose issuer has no `/oauth2/…`, has tokens for Okta alone. An admin may edit `sub`; `uid` is the user's stable id.

    Refused: ID tokens, which have neither `cid` nor `scp` (`claim_missing`).
    """
    audiences, mistakes = _several("okta", "audience", audience)
    if not isinstance(server, str) or _SEGMENT.fullmatch(server) is None:
        mistakes.append(
            f"okta: server {server!r} is no id of a custom authorization server, such as default; "
            "the tokens of the org authorization server are for Okta alone."
        )
    _refuse("okta", [*_host("okta", domain, "org.okta.com"), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=f"https://{domain.lower()}/oauth2/{server}",
        audiences=audiences,
        jwks_url=jwks_url,
        scope_claims=("scp",),
        client_id_claims=("cid",),
        one_of_claims=(("cid",), ("scp",)),
    )


def keycloak(
    base_url: str, realm: str, *, audience: OneOrSeveral, lightweight: bool = False, jwks_url: str | None = None
) -> TrustedIssuer:
    """Return a realm of Keycloak (Server Administration Guide, "Audience support", and Keycloak's `TokenUtil`).

    `base_url` is the server's, with `/auth` before version 17. `audience` is what an audience mapper adds for the API;
    by default, a token names only other clients or none. `lightweight` also accepts lightweight tokens, which may have
    no `sub`; the mapper needs "Add to lightweight access token".

    Refused: ID, refresh, offline and logout tokens, whose claim `typ` is not `Bearer` (`token_type`).
    """
    audiences, mistakes = _several("keycloak", "audience", audience)
    if not isinstance(realm, str) or _SEGMENT.fullmatch(realm) is None:
        mistakes.append(f"keycloak: realm {realm!r} is no realm's name: only letters, digits, '-', '_', '.' and '~'.")
    _refuse("keycloak", [*_url("keycloak", "base_url", base_url), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=f"{base_url.rstrip('/')}/realms/{realm}",
        audiences=audiences,
        jwks_url=jwks_url,
        client_id_claims=("azp", "client_id"),
        subject_required=not lightweight,
        required_claims={"typ": "Bearer"},
        one_of_claims=(("azp",),),
    )


def cognito(
    region: str,
    user_pool: str,
    *,
    client_ids: OneOrSeveral,
    audience: OneOrSeveral = (),
    issuer: str | None = None,
    jwks_url: str | None = None,
) -> TrustedIssuer:
    """Return a user pool of Amazon Cognito (Developer Guide, "Understanding the access token").

    `client_ids` are the app clients whose tokens are accepted: most tokens have no `aud`. `audience` is this API's URL
    in tokens that were bound to it ("Resource binding"); tokens that are bound to no API are accepted as well. `issuer`
    is the pool's identifier if it has another than `https://cognito-idp.REGION.amazonaws.com/POOL`.

    Refused: ID tokens, whose `token_use` is `id` (`token_type`); tokens of other app clients, or bound to another API
    (`audience`). Refresh tokens are encrypted.
    """
    clients, mistakes = _several("cognito", "client_ids", client_ids)
    resources, mistakes_in_resources = _several("cognito", "audience", audience) if audience else ((), [])
    mistakes += mistakes_in_resources
    pool = _USER_POOL.fullmatch(user_pool) if isinstance(user_pool, str) else None
    if pool is None:
        mistakes.append(f"cognito: user_pool {user_pool!r} is no id of a user pool, such as eu-central-1_AbCdEfGhI.")
    elif pool["region"] != region:
        mistakes.append(f"cognito: region {region!r} is not that of the user pool {user_pool}.")
    if issuer is not None:
        mistakes += _url("cognito", "issuer", issuer)
    _refuse("cognito", mistakes, jwks_url)
    return TrustedIssuer(
        identifier=issuer or f"https://cognito-idp.{region}.amazonaws.com/{user_pool}",
        audiences=clients,
        jwks_url=jwks_url,
        client_id_claims=("client_id",),
        audience_claim="client_id",
        resource_audiences=resources,
        required_claims={"token_use": "access"},
    )


def duende(issuer: str, *, audience: OneOrSeveral, jwks_url: str | None = None) -> TrustedIssuer:
    """Return a Duende IdentityServer (IdentityServer documentation, "API Resources", "IdentityServer Options").

    `issuer` is its identifier, as in its metadata. `audience` is the name of an API resource: tokens of a server that
    has only API scopes have no `aud` and are refused; define an API resource, or set `EmitStaticAudienceClaim` and name
    `ISSUER/resources`. `scope` may be a list. Machine tokens have no `sub`.

    Refused: ID and logout tokens, whose `typ` is not `at+jwt` (`token_type`). Refresh tokens are opaque.
    """
    audiences, mistakes = _several("duende", "audience", audience)
    _refuse("duende", [*_url("duende", "issuer", issuer), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=issuer,
        audiences=audiences,
        jwks_url=jwks_url,
        token_types=("at+jwt",),
        scope_list=True,
        client_id_claims=("client_id",),
        subject_required=False,
        one_of_claims=(("client_id",),),
    )


def pingone(
    environment_id: str, *, audience: OneOrSeveral, domain: str = "auth.pingone.com", jwks_url: str | None = None
) -> TrustedIssuer:
    """Return an environment of PingOne (PingOne API documentation, "Token claims").

    `environment_id` is a GUID; `domain` is that of its region, or a custom one. Machine tokens have no `sub`.

    Refused: all tokens whose `typ` is not `at+jwt`, and so every ID and refresh token, which the same keys sign
    (`token_type`). PingOne sends `at+jwt` always from 2 March 2027 on, and before where that was switched on.
    """
    audiences, mistakes = _several("pingone", "audience", audience)
    if not isinstance(environment_id, str) or _GUID.fullmatch(environment_id) is None:
        mistakes.append(f"pingone: environment_id {environment_id!r} is no GUID: copy it from PingOne's console.")
    _refuse("pingone", [*_host("pingone", domain, "auth.pingone.eu"), *mistakes], jwks_url)
    return TrustedIssuer(
        identifier=f"https://{domain.lower()}/{environment_id.lower()}/as",
        audiences=audiences,
        jwks_url=jwks_url,
        token_types=("at+jwt",),
        client_id_claims=("client_id",),
        subject_required=False,
        one_of_claims=(("client_id",),),
    )


def _refuse(preset: str, mistakes: list[str], jwks_url: str | None) -> None:
    """Raise ConfigError if there are mistakes, in `jwks_url` too: TrustedIssuer would tell that one alone."""
    mistakes = [*mistakes, *(f"{preset}: {mistake}" for mistake in mistakes_in_jwks_url(jwks_url))]
    if mistakes:
        raise ConfigError(mistakes)


def _several(preset: str, name: str, value: OneOrSeveral) -> tuple[tuple[str, ...], list[str]]:
    """Return an argument that is one string or several as a tuple, and the mistakes in it."""
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    if not values or not all(isinstance(one, str) and one for one in values):
        return values, [f"{preset}: {name} must be a non-empty string, or several of them."]
    return values, [f"{preset}: {mistake}" for mistake in mistakes_in_audiences(name, values)]


def _host(preset: str, domain: str, example: str) -> list[str]:
    if isinstance(domain, str) and _HOST.fullmatch(domain):
        return []
    return [f"{preset}: domain {domain!r} is no host name, without https:// and path, such as {example}."]


def _url(preset: str, name: str, url: str) -> list[str]:
    if is_secure_url(url) and not urlsplit(url).query:
        return []
    shown = without_credentials(url)
    return [f"{preset}: {name} {shown!r} must be an https URL (http on loopback only), no query, no fragment."]


# By name, for configuration files.
PRESETS: Mapping[str, Callable[..., TrustedIssuer]] = MappingProxyType(
    {make.__name__: make for make in (auth0, cognito, duende, entra, keycloak, okta, pingone, rfc9068)}
)
