"""The file that remembers a login: readable by its owner alone, replaced whole, guarded by a lock between processes."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device_app.clock import Clock
from device_app.errors import DeviceAppError, LoginNeededError, UnavailableError
from device_app.tokens import LoginRequest, Tokens
from device_app.untrusted import finite_number

__all__ = ["TokenStore", "default_token_file"]

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_LOCK_RETRY_SECONDS = 0.05
# Longer than the slowest refresh (discovery and one request, each limited by transport.py).
_LOCK_SECONDS = 90


def default_token_file(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/device-api/tokens.json`, or the same below `~/.local/state`."""
    state_home = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and must be ignored.
    base = Path(state_home) if Path(state_home).is_absolute() else Path.home() / ".local" / "state"
    return base / "device-api" / "tokens.json"


class TokenStore:
    """Tokens in the file `path`.

    `load` may be called at any time: a reader sees the old file or the new one, never a part. What reads, decides and
    writes holds `locked()` throughout.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    def load(self) -> Tokens:
        """Return the tokens. Raises LoginNeededError where there are none, DeviceAppError where they are unreadable."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError as exc:
            raise LoginNeededError("You are not logged in. Run: device login") from exc
        except OSError as exc:
            raise DeviceAppError(f"Cannot read {self.path}: {exc.strerror}.") from exc
        tokens = _parsed(content)
        if tokens is None:
            raise LoginNeededError(f"{self.path} is damaged. Run: device login")
        return tokens

    def save(self, tokens: Tokens) -> None:
        """Replace the file. Raises DeviceAppError when it cannot be written."""
        record = asdict(tokens)
        try:
            self._replace(json.dumps(record, indent=1).encode())
        except OSError as exc:
            raise DeviceAppError(f"Cannot write {self.path}: {exc.strerror}.") from exc

    def forget(self) -> None:
        """Remove the file; that it is absent is no error."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            raise DeviceAppError(f"Cannot remove {self.path}: {exc.strerror}.") from exc

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out.

        The lock is on a file of its own beside the tokens, because theirs is replaced; the system lets go of it when a
        process dies. Raises DeviceAppError when the directory cannot be written, UnavailableError when another process
        holds the lock for longer than any refresh takes.
        """
        lock_file = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as exc:
            raise DeviceAppError(f"Cannot write {lock_file}: {exc.strerror}.") from exc
        try:
            self._acquire(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        deadline = self._clock.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() >= deadline:
                    raise UnavailableError(f"Another process holds {self.path}. Try again later.") from None
                self._clock.sleep(_LOCK_RETRY_SECONDS)
            except OSError as exc:
                raise DeviceAppError(f"Cannot lock {self.path}: {exc.strerror}.") from exc
            else:
                return

    def _replace(self, content: bytes) -> None:
        # mkstemp makes the file with mode 0600; the rename puts it in place at once, so a crash leaves old or new.
        descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name + ".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _parsed(content: bytes) -> Tokens | None:
    try:
        record: Any = json.loads(content)
        expires_at = record.pop("expires_at")
        tokens = Tokens(request=LoginRequest(**record.pop("request")), expires_at=finite_number(expires_at), **record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    texts = (*asdict(tokens.request).values(), tokens.scope, tokens.access_token, tokens.refresh_token or "")
    return tokens if all(isinstance(text, str) for text in texts) else None
