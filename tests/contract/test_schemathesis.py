"""schemathesis against the API as it is served: every check that it has, with real tokens, links followed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, running_api
from tests.kit.signing import claims, jwks, rsa_key

# Cases for each operation, in each phase; more is a matter of patience: SCHEMATHESIS_EXAMPLES=200.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "5")
SCOPES = "read:devices write:devices read:readings write:readings"


@pytest.mark.slow
@pytest.mark.timeout(3600 if "SCHEMATHESIS_EXAMPLES" in os.environ else 180)
def test_the_api_is_as_the_contract_says(tmp_path: Path) -> None:
    key = rsa_key(0, "key-1")
    with KeyServer() as server:
        server.publish(jwks(key))
        # Nobody reads its log, and a pipe that is full would make it wait.
        with running_api(server.issuer, tmp_path, WEB_CONCURRENCY="2", API_LOG_LEVEL="error") as url:
            token = key.sign(claims(iss=server.issuer, scope=SCOPES))
            ended = subprocess.run(
                [
                    str(BIN / "schemathesis"),
                    *("--config-file", str(ROOT / "tests" / "contract" / "schemathesis.toml")),
                    *("run", f"{url}/openapi.json"),
                    *("--header", f"Authorization: Bearer {token}"),
                    *("--checks", "all", "--max-examples", EXAMPLES),
                    *("--continue-on-failure", "--warnings", "off", "--no-color"),
                ],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
                },
                capture_output=True,
                text=True,
                check=False,
            )
    assert re.search(r"Seed: \d+", ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No issues found" in ended.stdout
    # All of it was tested, and links led from one operation to another.
    assert "skipped operations" not in ended.stdout
    (selected, tested) = re.findall(r"(?:Selected|Tested): +(\d+)", ended.stdout)
    assert selected == tested
    assert int(re.findall(r"API Links: +(\d+) covered", ended.stdout)[0]) > 3
