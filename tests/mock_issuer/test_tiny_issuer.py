"""The tiny issuer: `flow`, `dialects` and `oauth` serve the whole device flow with every package above them missing."""

from __future__ import annotations

import subprocess
import sys

from tests.kit.processes import ROOT

DEVICE_FLOW = """
import sys

for name in ("authorization", "control", "hostile", "pages", "playground"):
    sys.modules["mock_issuer." + name] = None  # importing it raises ModuleNotFoundError

import jwt

from mock_issuer.flow import decisions
from mock_issuer.flow.issuer import get_issuer
from mock_issuer.oauth.app import create_oauth_app

app = create_oauth_app()
issuer, http = get_issuer(app), app.test_client()
AUDIENCE = "https://device-api.example"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def post(path, status, **form):
    response = http.post(path, data={"client_id": "device-app", **form})
    assert response.status_code == status, response.text
    return response.get_json()


device = post("/oauth/device/code", 200, audience=AUDIENCE, scope="openid read:devices offline_access")
poll = {"grant_type": GRANT, "device_code": device["device_code"]}
assert post("/oauth/token", 403, **poll)["error"] == "authorization_pending"
assert post("/oauth/token", 429, **poll)["error"] == "slow_down"

grant = issuer.state.find_pending(device["user_code"], now=issuer.clock())
user = issuer.config.find_user(username="alice")
assert decisions.approve(issuer, grant, user, auth_time=int(issuer.clock()))
tokens = post("/oauth/token", 200, **poll)

keys = jwt.PyJWKSet.from_dict(http.get("/.well-known/jwks.json").get_json())
for token, audience in ((tokens["access_token"], AUDIENCE), (tokens["id_token"], "device-app")):
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=issuer.config.issuer)
    assert claims["sub"] == "mock|alice"
userinfo = http.get("/userinfo", headers={"Authorization": "Bearer " + tokens["access_token"]})
assert userinfo.get_json() == {"sub": "mock|alice"}

refreshed = post("/oauth/token", 200, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
post("/oauth/revoke", 200, token=refreshed["refresh_token"])
revoked = post("/oauth/token", 403, grant_type="refresh_token", refresh_token=refreshed["refresh_token"])
assert revoked["error"] == "invalid_grant"

denied = post("/oauth/device/code", 200, audience=AUDIENCE)
decisions.deny(issuer, issuer.state.find_pending(denied["user_code"], now=issuer.clock()), user)
error = post("/oauth/token", 403, grant_type=GRANT, device_code=denied["device_code"])
assert error["error"] == "access_denied"

metadata = http.get("/.well-known/openid-configuration").get_json()
assert metadata["device_authorization_endpoint"] == issuer.config.issuer + "oauth/device/code"
assert [event.type for event in issuer.events.all()] == ["sede", "jwks", "sertft", "srrt", "fertft", "fdeac", "fede"]

loaded = {name.split(".")[1] for name, module in sys.modules.items() if name.startswith("mock_issuer.") and module}
assert loaded == {"config", "dialects", "flow", "oauth", "rules"}, loaded
"""


def test_the_device_flow_needs_no_page_and_no_control() -> None:
    command = [sys.executable, "-W", "error", "-c", DEVICE_FLOW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
