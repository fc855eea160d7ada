"""Run all checks of schemathesis against the API under gunicorn, with valid tokens."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, running_api
from tests.kit.signing import claims, jwks, rsa_key

# Cases for each operation in each phase. For a longer run: SCHEMATHESIS_EXAMPLES=200.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "5")
SCOPES = "read:devices write:devices read:readings write:readings"


@pytest.mark.slow
@pytest.mark.timeout(3600 if "SCHEMATHESIS_EXAMPLES" in os.environ else 180)
def test_the_api_matches_the_contract(tmp_path: Path) -> None:
    key = rsa_key(0, "key-1")
    with KeyServer() as server:
        server.publish(jwks(key))
        # Nothing reads the log.
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
    # All operations were tested, and links were followed.
    assert "skipped operations" not in ended.stdout
    (selected, tested) = re.findall(r"(?:Selected|Tested): +(\d+)", ended.stdout)
    assert selected == tested
    assert int(re.findall(r"API Links: +(\d+) covered", ended.stdout)[0]) > 3
