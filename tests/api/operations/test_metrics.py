import dataclasses
import json
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.auth.introspection import Introspection
from api.settings import Settings
from tests.kit.key_server import KeyServer, document
from tests.kit.running_api import Bearer
from tests.kit.signing import claims, jwks

Count = Callable[[str], float]


@pytest.fixture
def count(client: FlaskClient) -> Count:
    """Return a function that returns the increase of a series since the test began: counters outlive tests."""

    def now() -> dict[str, float]:
        text = client.get("/metrics").get_data(as_text=True)
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    before = now()
    return lambda series: now().get(series, 0) - before.get(series, 0)


def test_tokens_are_counted_by_outcome(client: FlaskClient, bearer: Bearer, count: Count) -> None:
    good = bearer()
    for headers in (good, good, good, bearer(exp=1), bearer(aud="other"), {}):
        client.get("/v1/me", headers=headers)
    client.get("/v1/devices", headers=bearer(scope="none"))
    assert count('api_tokens_accepted_total{remembered="no"}') == 1
    assert count('api_tokens_accepted_total{remembered="yes"}') == 2
    for reason in ("expired", "audience", "no_credentials", "scope"):
        assert count(f'api_tokens_refused_total{{reason="{reason}"}}') == 1


def test_fetches_of_keys_are_counted(client: FlaskClient, bearer: Bearer, key_server: KeyServer, count: Count) -> None:
    client.get("/v1/me", headers=bearer())
    assert count(f'api_key_fetches_total{{issuer="{key_server.issuer}",outcome="fetched"}}') == 1


def test_questions_about_tokens_are_counted(
    settings: Settings, key_server: KeyServer, client: FlaskClient, count: Count
) -> None:
    asks = Introspection(client_id="api", client_secret="s", endpoint=f"{key_server.origin}/introspect")
    asking = create_app(dataclasses.replace(settings, introspection=(asks,))).test_client()
    opaque = {"Authorization": "Bearer opaque"}
    key_server.answers["/introspect"] = document(b"{}", status=500)
    assert asking.get("/v1/me", headers=opaque).status_code == 503
    known = {"active": True, "token_type": "Bearer", **claims(iss=key_server.issuer)}
    key_server.answers["/introspect"] = document(json.dumps(known).encode())
    for _ in range(2):
        assert asking.get("/v1/me", headers=opaque).get_json()["sub"] == "user-1"
    for outcome in ("failed", "answered"):
        assert count(f'api_introspections_total{{issuer="{key_server.issuer}",outcome="{outcome}"}}') == 1
    assert count('api_tokens_refused_total{reason="introspection_unavailable"}') == 1
    assert count('api_tokens_accepted_total{remembered="yes"}') == 1


def test_faults_of_key_sets_are_counted(
    client: FlaskClient, bearer: Bearer, key_server: KeyServer, count: Count
) -> None:
    key_server.publish(jwks({"kty": "oct", "k": "AAAA"}))
    client.get("/v1/me", headers=bearer())
    for fault in ("no_usable_key", "private_key"):
        assert count(f'api_key_set_faults_total{{fault="{fault}",issuer="{key_server.issuer}"}}') == 1


def test_requests_are_counted_by_route(client: FlaskClient, count: Count) -> None:
    for number in range(3):
        client.get(f"/v1/devices/dev_{number}")
    client.open("/nowhere", method="BREW")
    series = 'api_request_seconds_count{method="%s",route="%s",status="%s"}'
    assert count(series % ("GET", "/v1/devices/<device_id>", 401)) == 3
    assert count(series % ("other", "none", 404)) == 1


def test_metrics_contain_no_claims(client: FlaskClient, bearer: Bearer) -> None:
    client.get("/v1/me", headers=bearer(sub="somebody", jti="a-secret"))
    text = client.get("/metrics").get_data(as_text=True)
    assert "somebody" not in text
    assert "a-secret" not in text
