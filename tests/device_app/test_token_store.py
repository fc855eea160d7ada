from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_app.errors import DeviceAppError, UnavailableError
from device_app.token_store import TokenStore, default_token_file

if TYPE_CHECKING:
    from device_app.tokens import Tokens
    from tests.device_app.conftest import FakeTime, Received, ScriptedServer


def test_tokens_come_back_as_they_were(token_file: Path, time: FakeTime, tokens: Tokens) -> None:
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
    assert token_file.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_tokens_and_nothing_else(
    token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    token_file.mkdir(parents=True)  # a directory cannot be replaced by a file
    with pytest.raises(DeviceAppError, match="Cannot write"):
        TokenStore(token_file, time.clock).save(tokens)
    assert list(token_file.parent.iterdir()) == [token_file]


def test_a_lock_that_is_never_let_go(token_file: Path, time: FakeTime) -> None:
    with (
        TokenStore(token_file, time.clock).locked(),
        pytest.raises(UnavailableError, match="Another process"),
        TokenStore(token_file, time.clock).locked(),
    ):
        pytest.fail("locked twice")
    assert 60 < time.elapsed < 120


def test_processes_that_refresh_at_once_spend_the_token_once(
    server: ScriptedServer, environment: dict[str, str], token_file: Path, time: FakeTime, tokens: Tokens
) -> None:
    with TokenStore(token_file, time.clock).locked():
        TokenStore(token_file, time.clock).save(tokens)
    granted = {"access_token": "access-secret-2", "refresh_token": "refresh-secret-2", "token_type": "Bearer"}
    # A second use of the same refresh token ends the login, as rotation demands.
    server.on("POST /token", (200, granted), (400, {"error": "invalid_grant"}))
    refused = threading.Semaphore(0)

    def judge(request: Received) -> None:
        if request.path != "/v1/devices":
            return
        if request.headers["Authorization"] == "Bearer access-secret-2":
            server.on("GET /v1/devices", (200, {"items": [], "next_cursor": None}))
        else:
            refused.release()
            server.on("GET /v1/devices", (401, {"error": "invalid_token"}))

    server.before_answer = judge
    # Their clocks are real, so the token's end is far away for them; the API's 401 makes both refresh.
    with TokenStore(token_file, time.clock).locked():
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "device_app", "devices"],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]
        assert all(refused.acquire(timeout=30) for _ in processes)
        # Both have been refused and wait for this lock.
    assert [process.communicate()[0] for process in processes] == ["You have no devices.\n"] * 2
    assert len(server.to("/token")) == 1
