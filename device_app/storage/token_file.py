"""The token file: readable by its owner only, replaced atomically, and locked between processes."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device_app.model.errors import DeviceAppError, LoginNeededError, UnavailableError
from device_app.model.proof_key import ProofKey
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.model.untrusted import finite_number

__all__ = ["TokenStore", "default_token_file", "parse_tokens", "serialize_tokens"]

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_LOCK_RETRY_SECONDS = 0.05
# Longer than the slowest refresh: discovery and one request, each limited by http/transport.py.
_LOCK_TIMEOUT_SECONDS = 90


def default_token_file(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/device-api/tokens.json`, or the same below `~/.local/state`.

    Raises RuntimeError if the user has no home directory.
    """
    state_home = environ.get("XDG_STATE_HOME", "")
    # The XDG Base Directory Specification: a relative path is invalid and must be ignored.
    base = Path(state_home) if Path(state_home).is_absolute() else Path.home() / ".local" / "state"
    return base / "device-api" / "tokens.json"


class TokenStore:
    """The tokens in the file `path`.

    `load` needs no lock: it reads the old or the new file, never a partial one. Hold `locked()` from the `load` that a
    decision is based on to the `save` or `delete` that follows.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        # Symbolic links are resolved, so that the file itself is replaced or deleted, and not the link.
        self.path = Path(os.path.realpath(path))
        self._clock = clock

    @property
    def location(self) -> str:
        """Where the tokens are, for display."""
        return str(self.path)

    def load(self) -> Tokens:
        """Return the tokens.

        Raises LoginNeededError if there are none or they are damaged, DeviceAppError if the file cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError as exc:
            raise LoginNeededError("You are not logged in. Run: device login") from exc
        except OSError as exc:
            raise DeviceAppError(f"Cannot read {self.path}: {exc.strerror}.") from exc
        return parse_tokens(content, self.location)

    def save(self, tokens: Tokens) -> None:
        """Replace the tokens; the caller holds `locked()`. Raises DeviceAppError if they cannot be written."""
        try:
            self._replace_file(serialize_tokens(tokens).encode())
        except OSError as exc:
            raise DeviceAppError(f"Cannot write {self.path}: {exc.strerror}.") from exc

    def delete(self) -> None:
        """Delete the tokens if there are any. Raises DeviceAppError if the file cannot be deleted."""
        for path in (self._temporary_path, self.path):
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise DeviceAppError(f"Cannot remove {path}: {exc.strerror}.") from exc

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold an exclusive lock between processes for the time of a `with` block.

        Raises DeviceAppError if the directory cannot be written, UnavailableError if another process holds the lock for
        longer than any refresh takes.
        """
        # A separate file, since the token file is replaced. The kernel releases the lock when the process ends.
        lock_file = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            # O_NOFOLLOW: a symbolic link put here by another user would create a file where it points to.
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        except OSError as exc:
            raise DeviceAppError(f"Cannot write {lock_file}: {exc.strerror}.") from exc
        try:
            self._acquire(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        deadline = self._clock.monotonic() + _LOCK_TIMEOUT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() >= deadline:
                    raise UnavailableError(f"Another process has locked {self.path}. Try again later.") from None
                self._clock.sleep(_LOCK_RETRY_SECONDS)
            except OSError as exc:
                raise DeviceAppError(f"Cannot lock {self.path}: {exc.strerror}.") from exc
            else:
                return

    @property
    def _temporary_path(self) -> Path:
        # A fixed name, so that the next save or delete removes what a killed process left behind.
        return self.path.with_name(self.path.name + ".new")

    def _replace_file(self, content: bytes) -> None:
        # Renaming is atomic: after a crash, the file is the old or the new one.
        self._temporary_path.unlink(missing_ok=True)
        try:
            descriptor = os.open(self._temporary_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._temporary_path.replace(self.path)
        except BaseException:
            self._temporary_path.unlink(missing_ok=True)
            raise


def serialize_tokens(tokens: Tokens) -> str:
    """Return the JSON text to store."""
    return json.dumps(asdict(tokens), indent=1)


def parse_tokens(content: bytes | str, location: str) -> Tokens:
    """Return the tokens in a stored JSON text. Raises LoginNeededError, which names `location`, if it is damaged."""
    tokens = _parse(content)
    if tokens is None:
        raise LoginNeededError(f"The login in {location} is damaged. Run: device login")
    return tokens


def _parse(content: bytes | str) -> Tokens | None:
    try:
        record: Any = json.loads(content)
        expires_at = record.pop("expires_at")
        key = record.pop("proof_key", None)
        tokens = Tokens(
            request=LoginRequest(**record.pop("request")),
            expires_at=finite_number(expires_at),
            proof_key=None if key is None else ProofKey(**key),
            **record,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    request = tokens.request
    required = (request.issuer, request.client_id, request.audience, request.scope, tokens.scope, tokens.access_token)
    optional = (
        request.device_authorization_endpoint,
        request.token_endpoint,
        request.revocation_endpoint,
        tokens.refresh_token,
        tokens.subject,
        tokens.name,
    )
    is_valid = all(isinstance(value, str) for value in required) and isinstance(request.dpop, bool)
    return tokens if is_valid and all(isinstance(value, str | None) for value in optional) else None
