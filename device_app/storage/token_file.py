"""The file that remembers a login: readable by its owner alone, replaced whole, guarded by a lock between processes."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device_app.model.errors import DeviceAppError, LoginNeededError, UnavailableError
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.model.untrusted import finite_number

__all__ = ["TokenStore", "default_token_file", "parse_tokens", "serialize_tokens"]

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
        # Where links lead: what is replaced or removed is the file itself, not a link to tokens that then stay.
        self.path = Path(os.path.realpath(path))
        self._clock = clock

    @property
    def place(self) -> str:
        """Where the tokens are, in words for the person."""
        return str(self.path)

    def load(self) -> Tokens:
        """Return the tokens. Raises LoginNeededError where there are none, DeviceAppError where they are unreadable."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError as exc:
            raise LoginNeededError("You are not logged in. Run: device login") from exc
        except OSError as exc:
            raise DeviceAppError(f"Cannot read {self.path}: {exc.strerror}.") from exc
        return parse_tokens(content, self.place)

    def save(self, tokens: Tokens) -> None:
        """Replace the tokens; the caller holds `locked()`. Raises DeviceAppError when they cannot be written."""
        try:
            self._replace(serialize_tokens(tokens).encode())
        except OSError as exc:
            raise DeviceAppError(f"Cannot write {self.path}: {exc.strerror}.") from exc

    def forget(self) -> None:
        """Remove the tokens; that there are none is no error."""
        for path in (self._unfinished, self.path):
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise DeviceAppError(f"Cannot remove {path}: {exc.strerror}.") from exc

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

    @property
    def _unfinished(self) -> Path:
        # One name for all, so that what a killed process leaves behind goes with the next one that holds the lock.
        return self.path.with_name(self.path.name + ".new")

    def _replace(self, content: bytes) -> None:
        # The rename puts the file in place at once, so a crash leaves old or new.
        self._unfinished.unlink(missing_ok=True)
        try:
            descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._unfinished.replace(self.path)
        except BaseException:
            self._unfinished.unlink(missing_ok=True)
            raise


def serialize_tokens(tokens: Tokens) -> str:
    """Return tokens as the text that is stored."""
    return json.dumps(asdict(tokens), indent=1)


def parse_tokens(content: bytes | str, place: str) -> Tokens:
    """Return the tokens of a stored text. Raises LoginNeededError where it is no such text; `place` is where it was."""
    tokens = _parsed(content)
    if tokens is None:
        raise LoginNeededError(f"The login in {place} is damaged. Run: device login")
    return tokens


def _parsed(content: bytes | str) -> Tokens | None:
    try:
        record: Any = json.loads(content)
        expires_at = record.pop("expires_at")
        tokens = Tokens(request=LoginRequest(**record.pop("request")), expires_at=finite_number(expires_at), **record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    request = tokens.request
    texts = (request.issuer, request.client_id, request.audience, request.scope, tokens.scope, tokens.access_token)
    optional_texts = (
        request.device_authorization_endpoint,
        request.token_endpoint,
        request.revocation_endpoint,
        tokens.refresh_token,
        tokens.subject,
    )
    is_whole = all(isinstance(text, str) for text in texts)
    return tokens if is_whole and all(isinstance(text, str | None) for text in optional_texts) else None
