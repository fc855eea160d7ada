from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.routing import Rule
from werkzeug.test import EnvironBuilder, run_wsgi_app

from api.app import create_app
from api.auth import Auth, AuthConfig, TokenVerifier, TrustedIssuer, open_to_all, require_auth
from api.settings import Settings
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer

PATH = "/.well-known/oauth-protected-resource"
VERIFIER = TokenVerifier(
    AuthConfig(issuers=(TrustedIssuer(identifier="https://issuer.example/", audiences=("https://api.example",)),))
)


def app_with(*auths: Auth) -> Flask:
    app = Flask("someone's")
    for auth in auths:
        auth.init_app(app)
    app.add_url_rule("/things", "things", require_auth("read:things")(lambda: "things"))
    app.add_url_rule("/either", "either", require_auth(any_of=["read:things", "admin"])(lambda: "either"))
    app.add_url_rule("/all", "all", require_auth("list:things", "count:things")(lambda: "all"))
    app.add_url_rule("/open", "open", open_to_all(lambda: "open"))
    app.url_map.add(Rule("/any-method", endpoint="open"))
    app.url_map.add(Rule("/built-only", endpoint="elsewhere", build_only=True, methods=["GET"]))
    return app


def served(app: Flask) -> list[str]:
    return sorted(rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith(PATH))


def test_it_is_not_served_and_not_named_by_default() -> None:
    client = app_with(Auth(VERIFIER)).test_client()
    assert client.get(PATH).status_code == 404
    assert "resource_metadata" not in header_of(client.get("/things"), "WWW-Authenticate")


def test_it_describes_a_small_api() -> None:
    response = app_with(Auth(VERIFIER, realm="things", metadata=True)).test_client().get(PATH)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == {
        "resource": "http://localhost",
        "authorization_servers": ["https://issuer.example/"],
        "scopes_supported": ["admin", "count:things", "list:things", "read:things"],
        "bearer_methods_supported": ["header"],
        "resource_name": "things",
    }


def test_below_a_path_the_well_known_part_stands_between_host_and_path() -> None:
    first = Auth(VERIFIER, metadata=True)
    auth = Auth(VERIFIER, metadata=True, resource_url="https://example.com/device/api/")
    app = app_with(first, auth)
    client = app.test_client()
    metadata = f"https://example.com{PATH}/device/api"
    assert served(app) == [PATH, f"{PATH}/device/api"]
    assert f'resource_metadata="{metadata}"' in header_of(client.get("/things"), "WWW-Authenticate")
    assert client.get(metadata).get_json()["resource"] == "https://example.com/device/api"


def test_it_is_served_at_the_well_known_path_and_below_it() -> None:
    assert served(app_with(Auth(VERIFIER, metadata=True))) == [PATH]
    below = Auth(VERIFIER, metadata=True, resource_url="https://example.com/api")
    assert served(app_with(below)) == [PATH, f"{PATH}/api"]


def test_the_challenge_without_credentials_names_the_scopes_of_the_route() -> None:
    client = app_with(Auth(VERIFIER)).test_client()
    assert client.get("/things").headers.get("WWW-Authenticate") == 'Bearer realm="api", scope="read:things"'
    assert client.get("/either").headers.get("WWW-Authenticate") == 'Bearer realm="api", scope="read:things"'


NAME = ".".join(["a" * 63] * 3 + ["a" * 61])  # 253 characters
ADDRESS = "0000:0000:0000:0000:0000:ffff:255.255.255.255"  # 45 characters


@pytest.mark.parametrize(
    "host",
    ["a", "api.example", "api.example:1", "10.0.0.1:65535", NAME, "[::]", "[::1]:8000", f"[{ADDRESS}]"],
)
def test_the_host_of_the_request_is_the_resource(host: str) -> None:
    client = app_with(Auth(VERIFIER, metadata=True)).test_client()
    assert client.get(PATH, headers={"Host": host}).get_json()["resource"] == f"http://{host}"
    challenge = header_of(client.get("/things", headers={"Host": host}), "WWW-Authenticate")
    assert f'resource_metadata="http://{host}{PATH}"' in challenge


@pytest.mark.parametrize(
    "host",
    ['a"b', "a b", "a\\b", "a,b", "a/b", "-a", "a:", "a:b", "a:123456", f"{NAME}a", "[:]", "[::::]", "[1::2::3]"],
)
def test_a_malformed_host_is_refused_and_never_echoed(host: str) -> None:
    app = app_with(Auth(VERIFIER, metadata=True))

    def get(path: str) -> tuple[bytes, str, Headers]:
        # Without the test client, which cannot send some of them.
        environ = {**EnvironBuilder(path=path).get_environ(), "HTTP_HOST": host}
        body, status, headers = run_wsgi_app(app, environ, buffered=True)
        return b"".join(body), status, headers

    body, status, _ = get(PATH)
    assert status == "400 BAD REQUEST"
    assert host.encode() not in body
    body, status, headers = get("/things")
    assert status == "401 UNAUTHORIZED"
    assert host.encode() not in body
    assert headers["WWW-Authenticate"] == 'Bearer realm="api", scope="read:things"'


@pytest.mark.this_project
def test_describes_the_api(client: FlaskClient, key_server: KeyServer) -> None:
    response = client.get(PATH)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.get_json() == {
        "resource": "http://localhost",
        "authorization_servers": [key_server.issuer],
        "scopes_supported": ["read:devices", "read:devices:all", "read:readings", "write:devices", "write:readings"],
        "bearer_methods_supported": ["header"],
        "resource_name": "device-api",
    }


@pytest.mark.this_project
def test_the_challenge_points_to_it(client: FlaskClient) -> None:
    challenge = header_of(client.get("/v1/me"), "WWW-Authenticate")
    assert challenge == f'Bearer realm="device-api", resource_metadata="http://localhost{PATH}"'


@pytest.mark.this_project
def test_the_public_url_is_the_resource(settings: Settings) -> None:
    app = create_app(replace(settings, public_url="https://api.example/"))
    client = app.test_client()
    assert client.get(PATH).get_json()["resource"] == "https://api.example"
    assert f'resource_metadata="https://api.example{PATH}"' in header_of(client.get("/v1/me"), "WWW-Authenticate")
    app.extensions["device_store"].close()


@pytest.mark.this_project
def test_an_invalid_host_is_never_echoed(client: FlaskClient) -> None:
    host = {"Host": 'evil"x'}
    assert client.get("/v1/me", headers=host).headers.get("WWW-Authenticate") == 'Bearer realm="device-api"'
    response = client.get(PATH, headers=host)
    assert response.status_code == 400
    assert "evil" not in response.get_data(as_text=True)
