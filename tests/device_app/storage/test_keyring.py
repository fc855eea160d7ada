"""Tokens in the keyring, with backends in memory."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import keyring
import keyring.backends.chainer
import keyring.backends.fail
import keyring.backends.null
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from device_app.model.errors import DeviceAppError, LoginNeededError, UnavailableError
from device_app.storage.keyring import KeyringStore, find_keyring
from device_app.storage.token_file import TokenStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device_app.model.tokens import Tokens
    from tests.device_app.conftest import FakeTime, Run, ScriptedServer

    Use = Callable[[KeyringBackend], None]

GRANTED = {
    "access_token": "access-secret-2",
    "refresh_token": "refresh-secret-2",
    "token_type": "Bearer",
    "expires_in": 3600,
}


class Memory(KeyringBackend):
    """A keyring in memory, which can be locked."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as the package has it
        self.entries: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self.check_unlocked()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.check_unlocked()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self.check_unlocked()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("Not found")

    def check_unlocked(self) -> None:
        if self.is_locked:
            raise KeyringLocked("The keyring is locked, says its secret dialog.")


class PlainText(Memory):
    priority = 0.5  # type: ignore[assignment]  # as keyrings.alt has it


@pytest.fixture
def use() -> Iterator[Use]:
    """Return a function that makes a backend the system's keyring."""
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


@pytest.fixture
def memory(use: Use) -> Memory:
    memory = Memory()
    use(memory)
    return memory


@pytest.fixture
def environment(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the default variables: DEVICE_TOKEN_FILE is not set."""
    monkeypatch.delenv("DEVICE_TOKEN_FILE", raising=False)
    return {"DEVICE_ISSUER": server.issuer, "DEVICE_API": server.address, "XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "device-api" / "tokens.json"


@pytest.fixture
def store(memory: Memory, token_file: Path, time: FakeTime) -> KeyringStore:
    return KeyringStore(memory, token_file, time.clock)


def test_the_keyring_holds_the_login_until_logout(
    server: ScriptedServer, run: Run, memory: Memory, token_file: Path, time: FakeTime
) -> None:
    server.offer_code()
    server.on("POST /token", (200, GRANTED))
    assert run("login").exit_code == 0
    assert not token_file.exists()
    (stored,) = memory.entries.values()
    assert json.loads(stored)["refresh_token"] == "refresh-secret-2"
    assert f"Tokens in: the system's keyring ({memory.name})" in run("status").output

    time.elapsed += 4000
    server.on("POST /token", (200, GRANTED | {"refresh_token": "refresh-secret-3"}))
    server.on("GET /v1/devices", (200, {"items": [], "next_cursor": None}))
    assert run("devices").exit_code == 0
    (stored,) = memory.entries.values()
    assert json.loads(stored)["refresh_token"] == "refresh-secret-3"

    server.on("POST /revoke", (200, ""))
    assert run("logout").output == "Logged out.\n"
    assert not memory.entries
    assert run("status").exit_code == 3


def test_a_named_file_is_used_instead_of_the_keyring(
    server: ScriptedServer, run: Run, memory: Memory, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["DEVICE_TOKEN_FILE"] = str(tmp_path / "named.json")
    server.offer_code()
    server.on("POST /token", (200, GRANTED))
    assert run("login").exit_code == 0
    assert not memory.entries
    assert oct(stat.S_IMODE((tmp_path / "named.json").stat().st_mode)) == "0o600"


@pytest.mark.parametrize("backend", [keyring.backends.fail.Keyring, keyring.backends.null.Keyring, PlainText])
def test_a_backend_that_does_not_protect_secrets_is_not_used(
    server: ScriptedServer, run: Run, use: Use, token_file: Path, backend: type[KeyringBackend]
) -> None:
    use(backend())
    assert find_keyring() is None
    server.offer_code()
    server.on("POST /token", (200, GRANTED))
    assert run("login").exit_code == 0
    assert oct(stat.S_IMODE(token_file.stat().st_mode)) == "0o600"


def test_the_first_backend_that_protects_secrets_is_used(use: Use) -> None:
    several = [PlainText(), Memory(), Memory()]

    class Chain(keyring.backends.chainer.ChainerBackend):
        backends = several

    use(Chain())  # type: ignore[no-untyped-call]  # as the package has it
    assert find_keyring() is several[1]


def test_a_backend_that_cannot_be_loaded_is_not_used() -> None:
    # In a process of its own, since the package selects its backend once.
    script = "from device_app.storage.keyring import find_keyring; print(find_keyring())"
    environment = {"PYTHON_KEYRING_BACKEND": "no.such.module.Keyring"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "None\n"


def test_without_the_package_there_is_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert find_keyring() is None


def test_a_login_in_the_file_moves_into_the_keyring(
    store: KeyringStore, memory: Memory, token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    with store.locked():
        TokenStore(token_file, time.clock).save(tokens)
    assert store.load() == tokens
    assert store.location == str(token_file)
    store.save(tokens)
    assert not token_file.exists()
    assert len(memory.entries) == 1
    assert store.load() == tokens


def test_tokens_that_the_keyring_does_not_take_are_kept_in_the_file(
    store: KeyringStore, memory: Memory, token_file: Path, tokens: Tokens
) -> None:
    with store.locked():
        store.save(tokens)
        memory.is_locked = True
        with pytest.raises(UnavailableError, match="is it locked") as caught:
            store.load()
        assert "secret" not in str(caught.value)
        newer = replace(tokens, refresh_token="refresh-secret-2")
        store.save(newer)
    assert oct(stat.S_IMODE(token_file.stat().st_mode)) == "0o600"
    # When the keyring is unlocked again, the file is used: it is newer.
    memory.is_locked = False
    assert store.location == str(token_file)
    assert store.load() == newer


def test_a_keyring_that_cannot_be_written(store: KeyringStore, memory: Memory, tokens: Tokens) -> None:
    with store.locked():
        store.save(tokens)
    memory.is_locked = True
    with pytest.raises(DeviceAppError, match="cannot be deleted"):
        store.delete()
    memory.is_locked = False
    store.delete()
    store.delete()
    with pytest.raises(LoginNeededError, match="not logged in"):
        store.load()


def test_an_entry_that_is_damaged(store: KeyringStore, memory: Memory) -> None:
    memory.entries["device-api", "tokens"] = "no JSON"
    with pytest.raises(LoginNeededError, match=r"in the system's keyring .* is damaged"):
        store.load()
