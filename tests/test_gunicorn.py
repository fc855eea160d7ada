"""gunicorn.conf.py, with the real server."""

import re
import socket
import subprocess
from pathlib import Path

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, running_api
from tests.kit.signing import claims, jwks, rsa_key

COMMAND = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]


def test_wrong_settings_are_told_together_and_end_it() -> None:
    variables = environment({"API_ISSUERS": "", "API_AUDIENCE": "", "PORT": "0"})
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "The device API does not start. 2 settings are wrong; the README lists them all:",
        "  API_ISSUERS: is required.",
        "  API_AUDIENCE: is required.",
    ]


@pytest.mark.parametrize("preload", ["", "--preload"])
def test_workers_verify_tokens_after_the_fork(tmp_path: Path, preload: str) -> None:
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        variables = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": preload, "TMPDIR": str(tmp_path)}
        with running_api(server.issuer, tmp_path, **variables) as url:
            assert list(tmp_path.glob("device-api-metrics-*"))
            assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
            token = key.sign(claims(iss=server.issuer))
            for _ in range(10):  # new connections, so that both workers get some
                answer = requests.get(f"{url}/v1/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
                assert answer.status_code == 200
            # Whichever worker is asked tells what all have counted.
            for _ in range(4):
                text = requests.get(f"{url}/metrics", timeout=10).text
                counts = re.findall(r"^api_tokens_accepted_total\{.*\} (\S+)$", text, re.MULTILINE)
                assert sum(map(float, counts)) == 10
        assert not list(tmp_path.glob("device-api-metrics-*"))


def test_a_broken_body_is_the_clients_mistake_and_is_read_for_good_tokens_alone(tmp_path: Path) -> None:
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        with running_api(server.issuer, tmp_path) as url:
            for token, status in ((key.sign(claims(iss=server.issuer)), b"400"), ("x", b"401")):
                with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
                    connection.sendall(
                        b"GET /v1/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                        b"Content-Type: application/x-www-form-urlencoded\r\n"
                        b"Authorization: Bearer " + token.encode() + b"\r\n\r\nzz\r\n"
                    )
                    assert connection.recv(65_536).split(b" ", 2)[1] == status


def test_every_setting_has_its_reason() -> None:
    lines = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if line[:1].islower() and " = " in line]
    assert len(settings) > 10
    for number in settings:
        above = number - 1
        while lines[above][:1].islower() and " = " in lines[above]:  # settings that share a reason stand together
            above -= 1
        assert lines[above].startswith("#"), lines[number]
