"""A Redis server that a test may stop: a child process without persistence."""

import shutil
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

import redis

from tests.kit.processes import START_SECONDS, free_port

PROGRAM = shutil.which("redis-server")


class RedisServer:
    """A running Redis at `url`; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it without data; return when it answers."""
        assert PROGRAM is not None
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.02)  # another process: the test cannot control its clock
                else:
                    return

    def stop(self) -> None:
        """Kill it; its data is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Suspend it: it accepts connections but does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it after `hang`; it has kept its data."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Delete all data."""
        with redis.Redis(port=self.port) as client:
            client.flushall()
