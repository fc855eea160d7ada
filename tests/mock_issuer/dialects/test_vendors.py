"""Each dialect by HTTP: an API that trusts the vendor's preset accepts its access tokens, and refuses its ID tokens.

The API of a preset knows nothing of the mock issuer: only the identifier is replaced.
"""
# ruff: noqa: E501  # a row is a line

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import jwt
import pytest

from api.auth import AuthConfig, InvalidToken, Reason, Requirement, TokenVerifier, TrustedIssuer, issuers
from mock_issuer import Api, Client, Config, ControlError, User
from mock_issuer.config import Dialect
from mock_issuer.dialects.vendors import FORMS
from tests.mock_issuer.conftest import LiveIssuer

# A GUID, as Entra wants the identifier of an API to be.
API = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
TENANT = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
DEVICE, MACHINE, SECRET = "device-app", "device-gateway", "public-test-secret"
CONFIG = Config(
    apis=(Api(audience=API, scopes={"read:a": "Read A", "write:a": "Write A"}),),
    clients=(
        Client(client_id=DEVICE),
        # Its ID tokens have the audience of the API.
        Client(client_id=API),
        Client(
            client_id=MACHINE,
            secret=SECRET,
            grant_types=frozenset({"client_credentials"}),
            introspects=frozenset({API}),
        ),
        Client(client_id="stranger", secret=SECRET, grant_types=frozenset({"client_credentials"})),
    ),
    users=(User(username="alice", sub="alice-1", claims={"https://example.com/team": "blue"}),),
)
PRESETS: dict[Dialect, TrustedIssuer] = {
    "rfc9068": issuers.rfc9068("https://tenant.logto.app/oidc", audience=API),
    "auth0": issuers.auth0("tenant.eu.auth0.com", audience=API),
    "entra": issuers.entra(TENANT, client_id=API),
    "keycloak": issuers.keycloak("https://keycloak.example", "tv", audience=API),
    "okta": issuers.okta("org.okta.com", audience=API),
    "cognito": issuers.cognito("us-west-2", "us-west-2_example", client_ids=[DEVICE, MACHINE, API]),
    "duende": issuers.duende("https://identity.example", audience=API),
}
DIALECTS = sorted(PRESETS)


class Shape(NamedTuple):
    """The documented shape of a token: header `typ`, names of all claims, and some of the claims."""

    typ: str | None
    names: set[str]
    some: dict[str, Any] = {}  # noqa: RUF012  # read only


TIMES = {"iss", "iat", "exp"}
_ENTRA = TIMES | {"nbf", "aud", "sub", "oid", "tid", "aio", "rh", "uti", "ver"}
_OKTA = TIMES | {"ver", "jti", "aud", "sub"}
_KEYCLOAK = TIMES | {"jti", "aud", "sub", "typ", "azp", "acr"}
_KEYCLOAK_ACCESS = _KEYCLOAK | {"allowed-origins", "realm_access", "resource_access", "scope"}
_COGNITO = TIMES | {"sub", "token_use", "auth_time", "jti"}
_DUENDE_SESSION = {"sub", "auth_time", "idp", "amr", "sid"}
PERSON = {"name", "preferred_username", "email", "email_verified"}
SCOPES = ["openid", "profile", "email", "read:a", "offline_access"]
SCOPE = " ".join(SCOPES)
# With the scopes above, except offline_access where a refresh is not asked for.
USER: dict[str, Shape] = {
    "rfc9068": Shape("at+jwt", TIMES | {"sub", "aud", "scope", "client_id", "jti", "auth_time"}, {"scope": SCOPE, "client_id": DEVICE}),
    "auth0": Shape("JWT", TIMES | {"sub", "aud", "scope", "azp"}, {"scope": SCOPE, "azp": DEVICE}),
    "entra": Shape("JWT", _ENTRA | {"azp", "azpacr", "scp", "name", "preferred_username"}, {"aud": API, "scp": SCOPE, "azp": DEVICE, "azpacr": "0", "ver": "2.0"}),
    "keycloak": Shape("JWT", _KEYCLOAK_ACCESS | PERSON | {"auth_time", "sid"}, {"aud": API, "scope": SCOPE, "azp": DEVICE, "typ": "Bearer", "acr": "1", "realm_access": {"roles": []}}),
    "okta": Shape(None, _OKTA | {"cid", "uid", "scp", "auth_time"}, {"aud": API, "scp": SCOPES, "cid": DEVICE, "uid": "alice-1", "ver": 1}),
    "cognito": Shape(None, _COGNITO | {"version", "client_id", "scope", "username", "origin_jti", "event_id"}, {"scope": SCOPE, "client_id": DEVICE, "token_use": "access", "username": "alice", "version": 2}),
    "duende": Shape("at+jwt", TIMES | _DUENDE_SESSION | {"nbf", "aud", "scope", "client_id", "jti"}, {"aud": API, "scope": SCOPES, "client_id": DEVICE, "amr": ["pwd"], "idp": "local"}),
}  # fmt: skip
MACHINES: dict[str, Shape] = {
    "rfc9068": Shape("at+jwt", TIMES | {"sub", "aud", "scope", "client_id", "jti"}, {"aud": API, "sub": f"{MACHINE}@clients", "scope": "read:a"}),
    "auth0": Shape("JWT", TIMES | {"sub", "aud", "scope", "azp", "gty"}, {"aud": API, "sub": f"{MACHINE}@clients", "gty": "client-credentials"}),
    "entra": Shape("JWT", _ENTRA | {"azp", "azpacr", "roles"}, {"aud": API, "roles": ["read:a"], "azp": MACHINE, "azpacr": "1"}),
    "keycloak": Shape("JWT", _KEYCLOAK_ACCESS | {"client_id", "clientHost", "clientAddress"}, {"aud": API, "client_id": MACHINE, "azp": MACHINE, "typ": "Bearer", "clientHost": "127.0.0.1", "clientAddress": "127.0.0.1"}),
    "okta": Shape(None, _OKTA | {"cid", "scp"}, {"aud": API, "sub": MACHINE, "cid": MACHINE, "scp": ["read:a"]}),
    "cognito": Shape(None, _COGNITO | {"version", "client_id", "scope"}, {"sub": MACHINE, "client_id": MACHINE, "token_use": "access"}),
    "duende": Shape("at+jwt", TIMES | {"nbf", "aud", "scope", "client_id", "jti"}, {"aud": API, "scope": ["read:a"], "client_id": MACHINE}),
}  # fmt: skip
_ALICE = {"name": "Alice Example", "email": "alice@example.com"}
IDS: dict[str, Shape] = {
    "rfc9068": Shape("JWT", TIMES | PERSON | {"sub", "aud", "auth_time"}, _ALICE),
    "auth0": Shape("JWT", TIMES | {"sub", "aud", "auth_time", "name", "nickname", "email", "email_verified"}, _ALICE | {"nickname": "alice"}),
    "entra": Shape("JWT", _ENTRA | {"name", "preferred_username", "email"}, _ALICE | {"ver": "2.0"}),
    "keycloak": Shape("JWT", _KEYCLOAK | PERSON | {"auth_time", "sid", "at_hash"}, _ALICE | {"typ": "ID", "azp": DEVICE, "acr": "1"}),
    "okta": Shape(None, _OKTA | {"amr", "idp", "auth_time", "at_hash"}, {"ver": 1, "amr": ["pwd"]}),
    "cognito": Shape(None, _COGNITO | {"aud", "cognito:username", "origin_jti", "event_id", "name", "email", "email_verified"}, _ALICE | {"token_use": "id", "cognito:username": "alice"}),
    "duende": Shape("JWT", TIMES | _DUENDE_SESSION | {"nbf", "aud", "at_hash"}, {"idp": "local"}),
}  # fmt: skip
# Why the preset refuses an ID token whose audience is the API, and the claim that shows it.
REFUSALS: dict[str, tuple[Reason, str | None]] = {
    "rfc9068": (Reason.TOKEN_TYPE, None),
    "auth0": (Reason.CLAIM_MISSING, "client_id or azp"),
    "entra": (Reason.CLAIM_MISSING, "azp"),
    "keycloak": (Reason.TOKEN_TYPE, "at_hash"),
    "okta": (Reason.TOKEN_TYPE, "at_hash"),
    "cognito": (Reason.TOKEN_TYPE, "token_use"),
    "duende": (Reason.TOKEN_TYPE, None),
}
HAVE_AT_HASH = {"keycloak", "okta", "duende"}


class Vendor:
    """A running issuer of one dialect, and an API that trusts it by the vendor's preset."""

    def __init__(self, dialect: Dialect, stack: ExitStack) -> None:
        self.issuer = LiveIssuer(replace(CONFIG, dialect=dialect), stack)
        self.trusted = replace(PRESETS[dialect], identifier=self.issuer.server.config.issuer)
        self.verifier = TokenVerifier(AuthConfig(issuers=(self.trusted,)), now=self.issuer.clock)

    def linked(self, scope: str = SCOPE, **form: str) -> dict[str, Any]:
        """Run the device flow and return the token response."""
        device = self.issuer.device(**{"audience": API, "scope": scope, **form})
        self.issuer.server.approve(device["user_code"])
        response = self.issuer.poll(device, **{"client_id": DEVICE} | form)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def machine_token(self, scope: str = "read:a") -> str:
        response = self.issuer.machine_token(audience=API, scope=scope)
        assert response.status_code == 200, response.text
        assert response.json()["scope"] == scope
        return str(response.json()["access_token"])

    def read(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verify the signature with PyJWT and the published keys; return header and claims."""
        keys = jwt.PyJWKClient(f"{self.issuer.url}.well-known/jwks.json")
        options: Any = {"require": ["exp", "iat", "iss"], "verify_aud": False}
        key = keys.get_signing_key_from_jwt(token)
        decoded = jwt.decode_complete(token, key, algorithms=["RS256"], issuer=self.issuer.url, options=options)
        return decoded["header"], decoded["payload"]

    def refusal(self, token: str) -> tuple[Reason, str | None]:
        with pytest.raises(InvalidToken) as caught:
            self.verifier.verify(token)
        return caught.value.reason, caught.value.claim

    def userinfo(self, token: str) -> Any:
        return self.issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})

    def introspect(self, token: str, client: str = MACHINE) -> dict[str, Any]:
        form = {"token": token, "client_id": client, "client_secret": SECRET}
        body: dict[str, Any] = self.issuer.post("/oauth/introspect", form).json()
        return body


@pytest.fixture(scope="module", params=DIALECTS)
def running(request: pytest.FixtureRequest, generate_key: Callable[[], Any]) -> Iterator[Vendor]:
    with ExitStack() as stack:
        yield Vendor(request.param, stack)


@pytest.fixture
def vendor(running: Vendor) -> Vendor:
    running.issuer.reset()
    return running


def dialect_of(vendor: Vendor) -> str:
    return vendor.issuer.server.config.dialect


def assert_shape(read: tuple[dict[str, Any], dict[str, Any]], shape: Shape) -> None:
    header, claims = read
    assert header == {"alg": "RS256", "kid": header["kid"]} | ({} if shape.typ is None else {"typ": shape.typ})
    assert claims.keys() == shape.names
    assert {name: claims[name] for name in shape.some} == shape.some


def test_every_dialect_is_here() -> None:
    assert set(get_args(Dialect)) == FORMS.keys() == set(DIALECTS)


def test_a_users_access_token_has_the_documented_shape_and_the_preset_reads_it(vendor: Vendor) -> None:
    response = vendor.linked()
    assert (response["token_type"], response["scope"], response["expires_in"]) == ("Bearer", SCOPE, 86400)
    assert_shape(vendor.read(response["access_token"]), USER[dialect_of(vendor)])
    token = vendor.verifier.verify(response["access_token"], Requirement(scopes=("read:a",)))
    assert (token.client_id, token.scopes, token.permissions) == (DEVICE, frozenset(SCOPES), frozenset())
    assert token.subject == "alice-1"


def test_a_machines_access_token_has_the_documented_shape_and_the_preset_reads_it(vendor: Vendor) -> None:
    access_token, dialect = vendor.machine_token(), dialect_of(vendor)
    assert_shape(vendor.read(access_token), MACHINES[dialect])
    token = vendor.verifier.verify(access_token, Requirement(scopes=("read:a",)))
    assert token.client_id == MACHINE
    granted = (frozenset(), frozenset({"read:a"})) if dialect == "entra" else (frozenset({"read:a"}), frozenset())
    assert (token.scopes, token.permissions) == granted
    assert (token.subject_or_none is None) is (dialect == "duende")


def test_an_id_token_has_the_documented_shape(vendor: Vendor) -> None:
    response = vendor.linked()
    header, claims = vendor.read(response["id_token"])
    assert_shape((header, claims), IDS[dialect_of(vendor)])
    assert (claims["aud"], claims["sub"]) == (DEVICE, "alice-1")
    if dialect_of(vendor) in HAVE_AT_HASH:
        # OpenID Connect Core §3.1.3.6.
        half = hashlib.sha256(response["access_token"].encode()).digest()[:16]
        assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()


def test_the_preset_refuses_id_tokens_even_if_their_audience_is_the_api(vendor: Vendor) -> None:
    vendor.refusal(vendor.linked()["id_token"])
    id_token = vendor.linked(client_id=API)["id_token"]
    assert vendor.read(id_token)[1]["aud"] == API
    assert vendor.refusal(id_token) == REFUSALS[dialect_of(vendor)]


def test_userinfo_answers_about_the_user_of_the_token(vendor: Vendor) -> None:
    response = vendor.linked("openid profile email read:a")
    everything = _ALICE | {"sub": "alice-1", "preferred_username": "alice", "email_verified": True}
    assert vendor.userinfo(response["access_token"]).json() == everything
    for_userinfo_alone = vendor.linked("openid email", audience="")
    assert vendor.userinfo(for_userinfo_alone["access_token"]).json()["email"] == "alice@example.com"
    named = None if dialect_of(vendor) == "cognito" else f"{vendor.issuer.url}userinfo"
    assert vendor.read(for_userinfo_alone["access_token"])[1].get("aud") == named
    assert vendor.userinfo(vendor.linked("read:a")["access_token"]).status_code in {401, 403}
    for other in (response["id_token"], vendor.machine_token()):
        assert vendor.userinfo(other).status_code in {401, 403}


def test_in_two_dialects_a_token_for_userinfo_says_so(vendor: Vendor) -> None:
    token = vendor.issuer.server.token(scope="openid", claims={"aud": API})
    assert vendor.userinfo(token).status_code == (401 if dialect_of(vendor) in {"rfc9068", "auth0"} else 200)


def test_introspection_tells_the_same_in_every_dialect(vendor: Vendor) -> None:
    response = vendor.linked()
    for token in (response["access_token"], response["refresh_token"]):
        found = vendor.introspect(token)
        assert {name: found[name] for name in ("active", "client_id", "scope", "sub", "username", "iss")} == {
            "active": True,
            "client_id": DEVICE,
            "scope": SCOPE,
            "sub": "alice-1",
            "username": "alice",
            "iss": vendor.issuer.url,
        }
        assert vendor.introspect(token, "stranger") == {"active": False}
    found = vendor.introspect(vendor.machine_token())
    assert (found["active"], found["client_id"], found["scope"]) == (True, MACHINE, "read:a")
    assert vendor.introspect(response["id_token"]) == {"active": False}


def test_a_refresh_gives_tokens_of_the_same_shape_and_session(vendor: Vendor) -> None:
    first = vendor.linked()
    vendor.issuer.clock.advance(100)
    second = vendor.issuer.refresh(first["refresh_token"]).json()
    for name, shapes in (("access_token", USER), ("id_token", IDS)):
        (_, before), (_, after) = vendor.read(first[name]), vendor.read(second[name])
        shape = shapes[dialect_of(vendor)]
        if (dialect_of(vendor), name) == ("auth0", "access_token"):
            shape = shape._replace(names=shape.names | {"gty"}, some=shape.some | {"gty": "refresh_token"})
        assert_shape(vendor.read(second[name]), shape)
        assert after["iat"] == before["iat"] + 100
        stable = ("sub", "sid", "oid", "tid", "origin_jti", "auth_time", "uid", "idp")
        assert {name: after.get(name) for name in stable} == {name: before.get(name) for name in stable}
    assert vendor.verifier.verify(second["access_token"]).subject == "alice-1"


def test_minted_tokens_have_the_shape_of_the_dialect(vendor: Vendor) -> None:
    dialect, shape = dialect_of(vendor), USER[dialect_of(vendor)]
    minted = vendor.issuer.server.token(scope=SCOPE)
    assert_shape(
        vendor.read(minted), shape._replace(names=shape.names - ({"auth_time"} if dialect == "rfc9068" else set()))
    )
    assert vendor.verifier.verify(minted).subject == "alice-1"
    body = {"machine": True, "client_id": MACHINE, "scope": "read:a"}
    by_http = vendor.issuer.request("POST", "/_mock/token", json=body).json()["access_token"]
    assert_shape(vendor.read(by_http), MACHINES[dialect])
    assert vendor.verifier.verify(by_http).client_id == MACHINE
    of_nobody = vendor.issuer.server.token(sub="someone", client_id=API, scope="write:a")
    assert vendor.read(of_nobody)[1].get("username") == ("someone" if dialect == "cognito" else None)
    unknown = vendor.verifier.verify(of_nobody)
    assert (unknown.subject, unknown.client_id, unknown.scopes) == ("someone", API, frozenset({"write:a"}))


def test_a_machines_token_is_minted_without_sub(vendor: Vendor) -> None:
    with pytest.raises(ControlError, match="has no user"):
        vendor.issuer.server.token(machine=True, sub="alice-1")
    forced = vendor.issuer.server.token(machine=True, scope="read:a", claims={"sub": "x"})
    assert vendor.read(forced)[1]["sub"] == "x"


def test_custom_claims_are_in_both_tokens(vendor: Vendor) -> None:
    tokens = vendor.linked("openid read:a https://example.com/team")
    for name in ("access_token", "id_token"):
        assert vendor.read(tokens[name])[1]["https://example.com/team"] == "blue"


@pytest.mark.parametrize(
    ("dialect", "claims"),
    [
        ("keycloak", {"typ": "ID"}),
        ("keycloak", {"typ": None}),
        ("cognito", {"token_use": "id"}),
        ("okta", {"scp": "openid"}),
        ("okta", {"scp": None}),
        ("entra", {"scp": ["openid"]}),
        ("entra", {"scp": None}),
        ("duende", {"scope": "openid"}),
    ],
)
def test_userinfo_refuses_what_is_no_access_token_of_the_dialect(
    dialect: Dialect, claims: dict[str, Any], make_issuer: Callable[[Config], LiveIssuer]
) -> None:
    issuer = make_issuer(replace(CONFIG, dialect=dialect))
    for changes, status in (({}, 200), (claims, 401)):
        token = issuer.server.token(scope="openid", claims=changes)
        response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == status


def test_introspection_tells_the_words_among_scopes(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(replace(CONFIG, dialect="okta"))
    token = issuer.server.token(claims={"scp": ["openid", 5, "", None, "read:a", "openid"]})
    form = {"token": token, "client_id": MACHINE, "client_secret": SECRET}
    assert issuer.post("/oauth/introspect", form).json()["scope"] == "openid read:a"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_clients_claim_is_required_where_the_type_is_that_of_id_tokens_too(
    dialect: Dialect, make_issuer: Callable[[Config], LiveIssuer]
) -> None:
    issuer = make_issuer(replace(CONFIG, dialect=dialect))
    name = FORMS[dialect].client_claim
    token = issuer.server.token(scope="openid", audience=f"{issuer.url}userinfo", claims={name: None})
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == (200 if dialect in {"rfc9068", "duende"} else 401)
