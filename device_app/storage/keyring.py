"""The system's keyring as the place of the tokens, where the package `keyring` is installed and finds one."""

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
_ENTRY: Final = "tokens"
# What the package `keyring` recommends. Below are its stand-ins for none, and those that keep plain text.
_LEAST_PRIORITY = 1


class KeyringStore(TokenStore):
    """Tokens in a keyring, guarded by a lock file beside `path`.

    What the keyring does not take is kept in the file `path`. A file that is there counts, whatever the keyring holds:
    it is newer, since each save into the keyring removes it.
    """

    def __init__(self, keyring: "KeyringBackend", path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self._keyring = keyring

    @property
    def place(self) -> str:
        """Where the tokens are, in words for the person."""
        return super().place if self.path.exists() else f"the system's keyring ({self._keyring.name})"

    def load(self) -> Tokens:
        """Return the tokens. Raises as the file does, and UnavailableError where the keyring cannot be read."""
        if self.path.exists():
            return super().load()
        try:
            content = self._keyring.get_password(_SERVICE, _ENTRY)
        # Whatever an operating system's keyring raises: the packages that speak to it agree on no error.
        except Exception as exc:
            raise UnavailableError("The system's keyring cannot be read: is it locked?") from exc
        # Without an entry the file's own error says so.
        return super().load() if content is None else parse_tokens(content, self.place)

    def save(self, tokens: Tokens) -> None:
        """Replace the tokens. Raises DeviceAppError when neither the keyring nor the file takes them."""
        try:
            self._keyring.set_password(_SERVICE, _ENTRY, serialize_tokens(tokens))
        except Exception:  # noqa: BLE001  # as in load; a refresh token that was spent must not be lost
            super().save(tokens)
        else:
            super().forget()

    def forget(self) -> None:
        """Remove the tokens; that there are none is no error."""
        super().forget()
        try:
            if self._keyring.get_password(_SERVICE, _ENTRY) is not None:
                self._keyring.delete_password(_SERVICE, _ENTRY)
        except Exception as exc:
            raise DeviceAppError(
                "The system's keyring does not let go of the login: is it locked? Run again: device logout"
            ) from exc


def find_keyring() -> "KeyringBackend | None":
    """Return the system's keyring, None where there is none that keeps what it is given from others."""
    try:
        import keyring  # noqa: PLC0415  # an optional dependency, and slow to load
        from keyring.backends.chainer import ChainerBackend  # noqa: PLC0415  # the same
    except ImportError:
        return None
    try:
        found = keyring.get_keyring()
        several = found.backends if isinstance(found, ChainerBackend) else [found]
        return next((one for one in several if one.priority >= _LEAST_PRIORITY), None)
    except Exception:  # noqa: BLE001  # a backend that cannot even be loaded is none
        return None
