"""The pytest plugin in another project: outside this repository, without its configuration."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mock_issuer
from tests.kit.processes import environment

# As in the README's example: an API of the other project, which trusts the issuer of the whole run.
CONFTEST = """
import jwt
import pytest
import requests

class Answer:
    def __init__(self, status_code):
        self.status_code = status_code

class MyApi:
    def __init__(self, issuer):
        self.issuer = issuer

    def get(self, path, headers):
        token = headers["Authorization"].removeprefix("Bearer ")
        fetched = requests.get(self.issuer + ".well-known/jwks.json", timeout=10)
        if fetched.status_code != 200:
            return Answer(503)
        try:
            key = jwt.PyJWKSet.from_dict(fetched.json())[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["RS256"], audience="https://device-api.example",
                                issuer=self.issuer)
        except (jwt.PyJWTError, KeyError):
            return Answer(401)
        return Answer(200 if "read:devices" in claims["scope"].split(" ") else 403)

@pytest.fixture(scope="session")
def my_api(mock_issuer_server):
    return MyApi(mock_issuer_server.url)

@pytest.fixture
def post(mock_issuer):
    def post(path, **form):
        return requests.post(mock_issuer.url + path, data={"client_id": "device-app", **form}, timeout=10)
    return post
"""
TESTS = """
import pytest
import requests
from mock_issuer import ControlError

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
URLS = set()

# The README's example, unchanged.
{snippet}

def get(my_api, token):
    return my_api.get("/devices", headers={"Authorization": f"Bearer {token}"}).status_code

@pytest.fixture(autouse=True)
def same_server(mock_issuer):
    URLS.add(mock_issuer.url)
    assert len(URLS) == 1
    assert mock_issuer.events == ()  # reset after the previous test

def test_token(mock_issuer, my_api):
    assert get(my_api, mock_issuer.token()) == 403
    assert get(my_api, mock_issuer.token(scope="read:devices", expires_in=-5)) == 401
    assert get(my_api, mock_issuer.token(scope="read:devices", claims={"iss": "other"})) == 401

def test_keys(mock_issuer, my_api):
    kid = mock_issuer.rotate_keys()
    assert get(my_api, mock_issuer.token(scope="read:devices")) == 200
    assert mock_issuer.withdraw_key(kid) == kid
    assert get(my_api, mock_issuer.token(scope="read:devices")) == 401

def test_jwks_fault(mock_issuer, my_api):
    mock_issuer.jwks_fault(status=503)
    assert get(my_api, mock_issuer.token(scope="read:devices")) == 503
    mock_issuer.jwks_fault()
    assert get(my_api, mock_issuer.token(scope="read:devices")) == 200

def test_approve_deny_and_clock(mock_issuer, post):
    codes = [post("oauth/device/code", audience="https://device-api.example").json() for _ in range(3)]
    mock_issuer.approve(codes[0]["user_code"], user="bob")
    mock_issuer.deny(codes[1]["user_code"])
    mock_issuer.clock.advance(899)
    polls = [post("oauth/token", grant_type=GRANT, device_code=code["device_code"]) for code in codes]
    assert [poll.status_code for poll in polls] == [200, 403, 403]
    assert [poll.json().get("error") for poll in polls] == [None, "access_denied", "authorization_pending"]
    mock_issuer.clock.advance(1)
    poll = post("oauth/token", grant_type=GRANT, device_code=codes[2]["device_code"])
    assert poll.json()["error"] == "expired_token"
    with pytest.raises(ControlError):
        mock_issuer.approve("WRON-GCOD")

def test_script_events_and_reset(mock_issuer, post):
    mock_issuer.script(after_polls=1, outcome="approve")
    code = post("oauth/device/code", audience="https://device-api.example").json()["device_code"]
    statuses = [post("oauth/token", grant_type=GRANT, device_code=code).status_code for _ in range(2)]
    assert statuses == [403, 200]
    assert [event.type for event in mock_issuer.events] == ["sede"]
    mock_issuer.reset()
    assert mock_issuer.events == ()

def test_hostile(mock_issuer):
    assert len(mock_issuer.hostile(scope="read:devices")) >= 100
"""
OVERRIDE = """
import pytest
from mock_issuer import Config, User

@pytest.fixture(scope="session")
def mock_issuer_config():
    return Config(users=(User(username="carol"),), profile="rfc", device_code_seconds=60)

def test_overridden_configuration(mock_issuer):
    assert mock_issuer.config.profile == "rfc"
    assert mock_issuer.config.issuer == mock_issuer.url
    assert [user.username for user in mock_issuer.config.users] == ["carol"]
"""


UNUSED = [
    word
    for name in ("anyio", "cacheprovider", "hypothesispytest", "randomly", "schemathesis", "timeout")
    for word in ("-p", f"no:{name}")
]


def run(directory: Path, *options: str) -> str:
    """Run the other project's tests; return the status and the output."""
    # Without this run's options, a cache, and the development plugins, which take a second to load.
    clean = {name: value for name, value in environment({}).items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *UNUSED, *options],
        cwd=directory,
        env=clean,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return f"status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def readme_snippet() -> str:
    readme = (Path(mock_issuer.__file__).parent / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(def test_.*?)```", readme, re.DOTALL)
    return str(snippet)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["-p", "no:xdist"], ["-n", "2"]], ids=["plain", "xdist"])
def test_another_projects_tests_run(project: Path, options: list[str]) -> None:
    (project / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (project / "test_theirs.py").write_text(TESTS.replace("{snippet}", readme_snippet()), encoding="utf-8")
    output = run(project, *options)
    assert output.startswith("status 0\n"), output
    assert "\n7 passed in " in output


def test_the_readmes_example_is_five_lines_and_no_more() -> None:
    assert len(readme_snippet().strip().splitlines()) <= 5


def test_another_project_overrides_the_configuration(project: Path) -> None:
    (project / "test_theirs.py").write_text(OVERRIDE, encoding="utf-8")
    output = run(project)
    assert output.startswith("status 0\n"), output
    assert "\n1 passed in " in output


def test_unused_fixtures_import_and_start_nothing(project: Path) -> None:
    (project / "test_theirs.py").write_text(
        "import sys, threading\n\ndef test_nothing_runs():\n"
        "    assert 'mock-issuer' not in [thread.name for thread in threading.enumerate()]\n"
        "    loaded = {name for name in sys.modules if name.split('.')[0] == 'mock_issuer'}\n"
        "    assert loaded == {'mock_issuer', 'mock_issuer.pytest_plugin'}\n",
        encoding="utf-8",
    )
    output = run(project)
    assert output.startswith("status 0\n"), output
    assert "\n1 passed in " in output


def test_the_fixtures_are_documented(project: Path) -> None:
    output = run(project, "--fixtures")
    for words in (
        "mock_issuer_config [session scope]",
        "mock_issuer_server [session scope]",
        "The session's issuer, reset to its initial state",
    ):
        assert words in output
