"""A copy may leave out what it does not use: the rest imports and works, and tokens of that kind are refused."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import api.auth
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE

PARTS = ("dpop", "introspection", "mtls.py")
PROGRAM = """\
import json, sys
sys.path.insert(0, "")
from shield import Auth, AuthConfig, AuthError, Requirement, TokenVerifier, TrustedIssuer, require_auth
from flask import Flask

issuer, audience, *authorizations = sys.argv[1:]
verifier = TokenVerifier(AuthConfig(issuers=(TrustedIssuer(identifier=issuer, audiences=(audience,)),)))
app = Flask(__name__)
Auth(verifier).init_app(app)
app.get("/")(require_auth("read:devices")(lambda: "ok"))
answers = [app.test_client().get("/", headers={"Authorization": one}) for one in authorizations]
parts = ("shield.dpop", "shield.introspection", "shield.mtls")
loaded = sorted(name for name in sys.modules if name in parts)
print(json.dumps([[answer.status_code for answer in answers], loaded]))
"""


@pytest.mark.this_project
@pytest.mark.parametrize("left_out", [[], ["dpop"], ["introspection"], ["mtls.py"], list(PARTS)])
def test_a_copy_works_without(left_out: list[str], tmp_path: Path, key_server: KeyServer, bearer: Bearer) -> None:
    copytree(Path(api.auth.__file__).parent, tmp_path / "shield", ignore=ignore_patterns("__pycache__", *left_out))
    tokens = (
        bearer()["Authorization"],
        bearer(scope="other")["Authorization"],
        bearer(cnf={"x5t#S256": "thumbprint"})["Authorization"],
        bearer(cnf={"jkt": "thumbprint"})["Authorization"],
        bearer(cnf={"jkt": "thumbprint"})["Authorization"].replace("Bearer", "DPoP"),
        "Bearer opaque",
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error", "-c", PROGRAM, key_server.issuer, AUDIENCE, *tokens],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert {name for name in PARTS if not (tmp_path / "shield" / name).exists()} == set(left_out)
    # With them, they are not even imported.
    assert json.loads(ended.stdout) == [[200, 403, 401, 401, 401, 401], []]
