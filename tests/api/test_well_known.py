from dataclasses import replace

from flask.testing import FlaskClient

from api.app import create_app
from api.settings import Settings
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer

PATH = "/.well-known/oauth-protected-resource"


def test_describes_the_api(client: FlaskClient, key_server: KeyServer) -> None:
    response = client.get(PATH)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.get_json() == {
        "resource": "http://localhost",
        "authorization_servers": [key_server.issuer],
        "scopes_supported": ["read:devices", "read:devices:all", "read:readings", "write:devices", "write:readings"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Device API",
    }


def test_the_challenge_points_to_it(client: FlaskClient) -> None:
    challenge = header_of(client.get("/v1/me"), "WWW-Authenticate")
    assert challenge == f'Bearer realm="device-api", resource_metadata="http://localhost{PATH}"'


def test_the_public_url_is_the_resource(settings: Settings) -> None:
    app = create_app(replace(settings, public_url="https://api.example/"))
    client = app.test_client()
    assert client.get(PATH).get_json()["resource"] == "https://api.example"
    assert f'resource_metadata="https://api.example{PATH}"' in header_of(client.get("/v1/me"), "WWW-Authenticate")
    app.extensions["device_store"].close()


def test_an_invalid_host_is_never_echoed(client: FlaskClient) -> None:
    host = {"Host": 'evil"x'}
    assert client.get("/v1/me", headers=host).headers.get("WWW-Authenticate") == 'Bearer realm="device-api"'
    response = client.get(PATH, headers=host)
    assert response.status_code == 400
    assert "evil" not in response.get_data(as_text=True)
