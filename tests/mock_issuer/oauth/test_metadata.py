from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from mock_issuer import Server
from tests.kit.headers import header_of
from tests.kit.person import Person

if TYPE_CHECKING:
    from tests.mock_issuer.conftest import LiveIssuer


@pytest.mark.parametrize("name", ["openid-configuration", "oauth-authorization-server"])
def test_metadata_names_endpoints_that_exist(issuer: LiveIssuer, name: str) -> None:
    response = issuer.get(f"/.well-known/{name}")
    body = response.json()
    assert response.headers.get("Cache-Control") == "public, max-age=60"
    assert body["issuer"] == issuer.url
    assert body["device_authorization_endpoint"] == issuer.url + "oauth/device/code"
    assert "urn:ietf:params:oauth:grant-type:device_code" in body["grant_types_supported"]
    assert body["token_endpoint_auth_methods_supported"] == ["none", "client_secret_basic", "client_secret_post"]
    for member, address in body.items():
        if member.endswith(("_endpoint", "_uri")):
            # 400: the authorization endpoint, which misses its parameters.
            assert issuer.get(address).status_code in {200, 400, 401, 405}, member


def test_both_documents_have_the_same_members(issuer: LiveIssuer) -> None:
    body = issuer.get("/.well-known/openid-configuration").json()
    assert issuer.get("/.well-known/oauth-authorization-server").json() == body
    assert body["userinfo_endpoint"] == issuer.url + "userinfo"
    assert body["introspection_endpoint"] == issuer.url + "oauth/introspect"
    # RFC 8414 §2: a public client cannot introspect.
    assert body["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert body["authorization_endpoint"] == issuer.url + "authorize"
    assert body["response_types_supported"] == ["code"]
    assert body["response_modes_supported"] == ["query", "form_post"]
    assert body["code_challenge_methods_supported"] == ["S256"]
    assert body["authorization_response_iss_parameter_supported"] is True
    assert body["prompt_values_supported"] == ["none", "login", "consent", "select_account"]
    assert body["request_uri_parameter_supported"] is False
    assert "authorization_code" in body["grant_types_supported"]
    assert body["subject_types_supported"] == ["public"]
    assert body["id_token_signing_alg_values_supported"] == ["RS256"]


def test_metadata_says_neither_less_nor_more(issuer: LiveIssuer) -> None:
    methods = ["client_secret_basic", "client_secret_post"]
    assert issuer.get("/.well-known/openid-configuration").json() == {
        "issuer": issuer.url,
        "authorization_endpoint": issuer.url + "authorize",
        "device_authorization_endpoint": issuer.url + "oauth/device/code",
        "token_endpoint": issuer.url + "oauth/token",
        "revocation_endpoint": issuer.url + "oauth/revoke",
        "introspection_endpoint": issuer.url + "oauth/introspect",
        "userinfo_endpoint": issuer.url + "userinfo",
        "jwks_uri": issuer.url + ".well-known/jwks.json",
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_uri_parameter_supported": False,
        "scopes_supported": [
            *("openid", "profile", "email", "address", "phone", "offline_access"),
            *("read:devices", "write:devices", "read:readings", "write:readings"),
        ],
        "token_endpoint_auth_methods_supported": ["none", *methods],
        "revocation_endpoint_auth_methods_supported": ["none", *methods],
        "introspection_endpoint_auth_methods_supported": methods,
        "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "EdDSA", "PS256", "RS256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified", "auth_time"],
    }


def test_the_key_set_may_be_cached_for_a_minute_and_its_fetch_is_logged(issuer: LiveIssuer) -> None:
    assert issuer.get("/.well-known/jwks.json").headers["Cache-Control"] == "public, max-age=60"
    (event,) = issuer.server.events
    assert (event.type, event.description, event.ip) == ("jwks", "", "127.0.0.1")


def test_the_key_set_holds_public_members_only(issuer: LiveIssuer) -> None:
    response = issuer.get("/.well-known/jwks.json")
    (key,) = response.json()["keys"]
    assert set(key) == {"kty", "n", "e", "alg", "use", "kid"}
    assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig")
    assert len(key["n"]) == 342  # 2048 bits in base64url


@pytest.mark.parametrize("slash", ["", "/"])
def test_everything_is_under_the_path_of_the_issuer(slash: str) -> None:
    with Server(issuer="http://issuer.test/realms/a" + slash) as server:
        base = server.url + "realms/a/"
        for address in (
            base + ".well-known/openid-configuration",
            base + ".well-known/oauth-authorization-server",
            server.url + ".well-known/oauth-authorization-server/realms/a",  # RFC 8414 §3.1
        ):
            body = requests.get(address, timeout=10).json()
            assert body["issuer"] == "http://issuer.test/realms/a" + slash
            for member in ("token_endpoint", "jwks_uri"):
                found = body[member].replace("http://issuer.test/", server.url)
                assert requests.get(found, timeout=10).status_code in {200, 405}, member
        assert requests.get(server.url + ".well-known/oauth-authorization-server/other", timeout=10).status_code == 404
        form = {"client_id": "device-app", "audience": "https://device-api.example"}
        device = requests.post(base + "oauth/device/code", data=form, timeout=10).json()
        assert device["verification_uri"] == "http://issuer.test/realms/a/activate"
        with Person(base) as person:
            person.open("activate", user_code=device["user_code"])
            person.send(answer="yes")
            person.log_in()
            assert person.page.url.startswith(base)
            assert "'none'" in header_of(person.page, "Content-Security-Policy")
            assert "Your device is connected" in person.send(answer="allow").text
