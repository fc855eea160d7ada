"""A PostgreSQL server of a test's own, which it may stop, suspend or make read-only."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.kit.needs import INITDB
from tests.kit.processes import START_SECONDS, free_port

# PostgreSQL refuses to run as root.
_USER = "postgres" if os.geteuid() == 0 else None


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, of the server's version."""
    assert INITDB is not None
    return str(Path(INITDB).with_name(name))


class PostgresqlServer:
    """A running PostgreSQL server with a new cluster, at `url`; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if _USER:
            shutil.chown(self._directory, _USER)
        command = [program("initdb"), "-D", str(self._directory / "data"), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=_USER, cwd=self._directory)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.resume()
        self.stop()
        shutil.rmtree(self._directory)

    def start(self, *options: str) -> None:
        """Start it with these settings, such as "max_connections=9"; return when it answers."""
        settings = [f"unix_socket_directories={self._directory}", "fsync=off", *options]
        self._process = subprocess.Popen(
            [program("postgres"), "-D", str(self._directory / "data"), "-p", str(self.port), "-h", "127.0.0.1"]
            + [word for setting in settings for word in ("-c", setting)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=_USER,
            cwd=self._directory,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)  # another process: the test cannot control its clock
            else:
                return

    def connect(self) -> psycopg.Connection:
        """Return a connection whose statements commit by themselves."""
        return psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres", autocommit=True)

    def stop(self, *, immediately: bool = False) -> None:
        """Stop it: in fast mode, or as after a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def suspend(self) -> None:
        """Suspend all its processes: the kernel accepts connections and acknowledges what is sent, nobody answers."""
        self._send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `suspend`."""
        self._send_signal(signal.SIGCONT)

    def _send_signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        # The first of them starts the others.
        self._process.send_signal(number)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for child in children.read_text(encoding="ascii").split():
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(int(child), number)
