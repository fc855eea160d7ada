"""The mock issuer's command, started on a free port."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# As a module, and as the installed script.
COMMANDS = [[sys.executable, "-m", "mock_issuer"], [str(Path(sys.executable).with_name("mock-issuer"))]]


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start an issuer; yield the process and the first line of its output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()
