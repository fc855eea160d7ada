from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_app.model.errors import DeviceAppError, UnavailableError
from device_app.storage.token_file import TokenStore, default_token_file

if TYPE_CHECKING:
    from device_app.model.tokens import Tokens
    from tests.device_app.conftest import FakeTime


def test_tokens_are_loaded_as_they_were_saved(token_file: Path, time: FakeTime, tokens: Tokens) -> None:
    store = TokenStore(token_file, time.clock)
    with store.locked():
        store.save(tokens)
    assert store.load() == tokens


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/var/state"}, Path("/var/state/device-api/tokens.json")),
        ({"XDG_STATE_HOME": "relative"}, Path.home() / ".local/state/device-api/tokens.json"),
        ({}, Path.home() / ".local/state/device-api/tokens.json"),
    ],
)
def test_default_place(environ: dict[str, str], expected: Path) -> None:
    assert default_token_file(environ) == expected


def test_a_file_that_others_could_read_is_replaced_by_one_that_they_cannot(
    token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    token_file.parent.mkdir()
    token_file.write_text("old")
    token_file.chmod(0o644)
    TokenStore(token_file, time.clock).save(tokens)
    assert oct(stat.S_IMODE(token_file.stat().st_mode)) == "0o600"


def test_a_failed_write_leaves_the_old_tokens_and_nothing_else(
    token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    token_file.mkdir(parents=True)  # a directory cannot be replaced by a file
    with pytest.raises(DeviceAppError, match="Cannot write"):
        TokenStore(token_file, time.clock).save(tokens)
    assert list(token_file.parent.iterdir()) == [token_file]


def test_a_partial_file_of_a_killed_process_is_ignored_and_deleted(
    token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    store = TokenStore(token_file, time.clock)
    store.path.parent.mkdir()
    left = store.path.with_name("tokens.json.new")
    left.write_text("half of a secr")
    left.chmod(0o644)
    store.save(tokens)
    assert store.load() == tokens
    assert oct(stat.S_IMODE(store.path.stat().st_mode)) == "0o600"
    left.write_text("half of a secr")
    store.delete()
    assert list(token_file.parent.iterdir()) == []


def test_a_symbolic_link_is_followed_and_kept(token_file: Path, time: FakeTime, tokens: Tokens) -> None:
    elsewhere = token_file.with_name("elsewhere.json")
    token_file.parent.mkdir()
    token_file.symlink_to(elsewhere)
    store = TokenStore(token_file, time.clock)
    store.save(tokens)
    assert token_file.is_symlink()
    assert TokenStore(elsewhere, time.clock).load() == tokens
    store.delete()
    assert not elsewhere.exists()


def test_the_lock_file_is_not_created_through_a_symbolic_link(token_file: Path, time: FakeTime, tmp_path: Path) -> None:
    token_file.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    token_file.with_name("tokens.json.lock").symlink_to(elsewhere)
    with pytest.raises(DeviceAppError, match=r"Cannot write .*\.lock"), TokenStore(token_file, time.clock).locked():
        pass
    assert not elsewhere.exists()


def test_a_lock_that_is_never_released(token_file: Path, time: FakeTime) -> None:
    with (
        TokenStore(token_file, time.clock).locked(),
        pytest.raises(UnavailableError, match="Another process"),
        TokenStore(token_file, time.clock).locked(),
    ):
        pytest.fail("locked twice")
    assert 60 < time.elapsed < 120
