"""What `make bench-serve` measures runs, and the CPU time of a process and its children is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serve import instructions, services
from benchmarks.serve.load import Client, cpu_seconds
from benchmarks.serve.services import Service
from benchmarks.serve.tokens import sign
from tests.kit.key_server import KeyServer

# A parent whose child uses half a second of CPU time, and which then waits for the end of its input.
PARENT = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.5: pass\\nprint(flush=True)\\ninput()"
child = subprocess.Popen([sys.executable, "-c", burn], stdin=sys.stdin, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
child.wait()
"""


def test_the_cpu_time_of_children_counts() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin
        assert parent.stdout
        parent.stdout.readline()
        assert cpu_seconds(parent.pid) >= 0.5
        parent.stdin.close()


@pytest.mark.slow
@pytest.mark.needs("wrk")
@pytest.mark.needs("granian")
@pytest.mark.parametrize("service", [services.DECORATED, services.PYJWT, services.AUTHLIB, services.ME_FAST])
def test_each_request_is_answered_with_200_and_costs_something(service: Service, tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    tokens = tmp_path / "tokens"
    with KeyServer() as key_server:
        key_server.publish(sign(tokens, 20, issuer=key_server.issuer))
        with services.running(
            service,
            issuer=key_server.issuer,
            jwks_url=key_server.jwks_url,
            cores=core,
            directory=tmp_path / "service",
        ) as running:
            client = Client(running.url + service.path, tokens, core, running.process)
            # A request that fails raises.
            load = client.send(1)
            assert client.sent == load.requests > 0
            assert load.server_cpu_seconds > 0
            # Without a valid token, there is no measurement.
            tokens.write_text("x\n", encoding="ascii")
            with pytest.raises(RuntimeError):
                client.send(1)


@pytest.mark.slow
@pytest.mark.needs("valgrind")
def test_the_instructions_of_a_request_are_counted(tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    directory = tmp_path / "counts"
    directory.mkdir()
    with services.running(
        services.PLAIN,
        issuer="https://issuer.example/",
        jwks_url="https://issuer.example/jwks",
        cores=core,
        directory=tmp_path / "service",
        under=instructions.under_callgrind(directory),
    ) as running:
        counted = instructions.count(running, "/", ["token"], directory)
        # More than Werkzeug's routing alone takes, and less than the start of the server.
        assert 100_000 < counted < 10_000_000
        with pytest.raises(RuntimeError, match="404"):
            instructions.count(running, "/unknown", ["token"], directory)
