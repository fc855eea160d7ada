"""Tokens in the system's keyring, if the package `keyring` is installed and finds one."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_app.model.errors import DeviceAppError, UnavailableError
from device_app.model.times import Clock
from device_app.model.tokens import Tokens
from device_app.storage.token_file import TokenStore, parse_tokens, serialize_tokens

if TYPE_CHECKING:  # an optional dependency
    from keyring.backend import KeyringBackend

__all__ = ["KeyringStore", "find_keyring"]

_SERVICE: Final = "device-api"
_USERNAME: Final = "tokens"
# The package `keyring` recommends backends of priority 1 and above. Backends below it store plain text or nothing.
_MIN_PRIORITY = 1


class KeyringStore(TokenStore):
    """The tokens in a keyring, with a lock file beside `path`.

    If the keyring refuses the tokens, they are saved in the file `path`. If that file exists, it is used whatever the
    keyring holds: it is newer, since each save into the keyring deletes it.
    """

    def __init__(self, keyring: "KeyringBackend", path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._keyring = keyring

    @property
    def location(self) -> str:
        """Where the tokens are, for display."""
        return super().location if self.path.exists() else f"the system's keyring ({self._keyring.name})"

    def load(self) -> Tokens:
        """Return the tokens. Raises as TokenStore.load, and UnavailableError if the keyring cannot be read."""
        if self.path.exists():
            return super().load()
        try:
            content = self._keyring.get_password(_SERVICE, _USERNAME)
        # Keyring backends share no base class for their errors.
        except Exception as exc:
            raise UnavailableError("The system's keyring cannot be read: is it locked?") from exc
        # Without an entry, loading the missing file raises the right error.
        return super().load() if content is None else parse_tokens(content, self.location)

    def save(self, tokens: Tokens) -> None:
        """Replace the tokens. Raises DeviceAppError if neither the keyring nor the file can be written."""
        try:
            self._keyring.set_password(_SERVICE, _USERNAME, serialize_tokens(tokens))
        except Exception:  # noqa: BLE001  # as in load; a new refresh token must not be lost
            super().save(tokens)
        else:
            super().delete()

    def delete(self) -> None:
        """Delete the tokens if there are any. Raises DeviceAppError if they cannot be deleted."""
        super().delete()
        try:
            if self._keyring.get_password(_SERVICE, _USERNAME) is not None:
                self._keyring.delete_password(_SERVICE, _USERNAME)
        except Exception as exc:
            raise DeviceAppError(
                "The login cannot be deleted from the system's keyring: is it locked? Run again: device logout"
            ) from exc


def find_keyring() -> "KeyringBackend | None":
    """Return the system's keyring, or None if there is none that protects its contents."""
    try:
        import keyring  # noqa: PLC0415  # an optional dependency, and slow to import
        from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415  # the same
    except ImportError:
        return None
    try:
        backend = keyring.get_keyring()
        candidates = backend.backends if isinstance(backend, ChainerBackend) else [backend]
        return next((candidate for candidate in candidates if candidate.priority >= _MIN_PRIORITY), None)
    except Exception:  # noqa: BLE001  # a backend that fails to load cannot be used
        return None
