"""A copy of the folder verifies tokens where no web framework can be imported."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

import api.auth
from tests.api.auth.answers import parse_challenge
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE

BLOCK = """\
import importlib.abc
import importlib.util
import sys


class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"flask", "werkzeug"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Blocked())
for name in ("flask", "werkzeug"):
    try:
        importlib.util.find_spec(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} can be imported")
"""
VERIFY = """\
import json
from shield import AuthConfig, AuthError, Requirement, TokenVerifier, TrustedIssuer, bearer_token

issuer, audience, *authorizations = sys.argv[1:]
verifier = TokenVerifier(AuthConfig(issuers=(TrustedIssuer(identifier=issuer, audiences=(audience,)),)))
requirement = Requirement(scopes=("read:devices",))


def answer(call):
    try:
        return {"status": 200, "subject": call().subject}
    except AuthError as refusal:
        return {"status": refusal.status, "headers": refusal.headers(realm="things"), "detail": refusal.detail}


for authorization in (None, *authorizations):
    print(json.dumps(answer(lambda: verifier.authenticate(authorization, requirement))))
    print(json.dumps(answer(lambda: verifier.verify(bearer_token(authorization), requirement))))
"""
IMPORT_AUTH = """\
import shield
assert "Auth" in dir(shield)
from shield import Auth
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with nothing but a copy of the folder, under another name."""
    copytree(Path(api.auth.__file__).parent, tmp_path / "shield", ignore=ignore_patterns("__pycache__"))
    return tmp_path


def run(directory: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-B", "-W", "error", "-c", f"import sys\nsys.path.insert(0, '')\n{program}"]
    return subprocess.run([*command, *arguments], cwd=directory, capture_output=True, text=True, check=False)


def test_a_copy_verifies_tokens_without_flask_and_werkzeug(
    directory: Path, key_server: KeyServer, bearer: Bearer
) -> None:
    good = bearer()["Authorization"]
    without_scope = bearer(scope="read:readings")["Authorization"]
    expired = bearer(exp=1)["Authorization"]
    ended = run(directory, BLOCK + VERIFY, key_server.issuer, AUDIENCE, good, without_scope, expired)
    assert ended.returncode == 0, ended.stderr
    answers: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["status"] for answer in answers] == [401, 401, 200, 200, 403, 403, 401, 401]
    challenges = [
        parse_challenge(answer["headers"]["WWW-Authenticate"]) if answer["status"] != 200 else None
        for answer in answers
    ]
    # bearer_token does not know what the route requires.
    assert challenges[:2] == [{"realm": "things", "scope": "read:devices"}, {"realm": "things"}]
    assert answers[2] == answers[3] == {"status": 200, "subject": "user-1"}
    assert challenges[4] == challenges[5]
    assert challenges[4] == {
        "realm": "things",
        "error": "insufficient_scope",
        "error_description": answers[4]["detail"],
        "scope": "read:devices",
    }
    assert challenges[6] == {"realm": "things", "error": "invalid_token", "error_description": answers[6]["detail"]}
    assert key_server.key_requests == 1


def test_a_name_that_needs_flask_says_that_flask_is_missing(directory: Path) -> None:
    ended = run(directory, BLOCK + IMPORT_AUTH)
    assert ended.returncode == 1
    last_line = ended.stderr.strip().splitlines()[-1]
    assert last_line == "ModuleNotFoundError: No module named 'flask'"


def test_flask_is_not_imported_before_it_is_used(directory: Path) -> None:
    imports = "import shield\nfrom shield import TokenVerifier, Requirement, bearer_token\n"
    loaded = "print(sorted({'flask', 'werkzeug'} & set(sys.modules)))\n"
    ended = run(directory, f"{imports}{loaded}shield.Auth\n{loaded}")
    assert ended.stdout.splitlines() == ["[]", "['flask', 'werkzeug']"], ended.stderr
