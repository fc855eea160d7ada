"""What the kit promises to the tests, where a mistake in it would go unnoticed."""

import signal
import subprocess
import sys

from tests.kit.processes import restore_sigint_in_children


def test_children_take_sigint_even_if_this_process_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        restore_sigint_in_children()
        signal.raise_signal(signal.SIGINT)  # and it still ignores it
        command = [sys.executable, "-S", "-c", "import signal; signal.raise_signal(signal.SIGINT)"]
        ended = subprocess.run(command, stderr=subprocess.DEVNULL, timeout=30, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.returncode == -signal.SIGINT
