"""The program on a real terminal, which here is a pseudo-terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.device_app.conftest import ScriptedServer

    Start = Callable[..., pexpect.spawn[str]]

PENDING = (403, {"error": "authorization_pending"})
GRANTED = (200, {"access_token": "access-secret", "token_type": "Bearer", "expires_in": 3600})
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Runs the program as a shell would, and then tells what it left behind.
SHELL = 'trap : INT; "$@"; echo "status $?"; stty -a; echo finished'


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    children: list[pexpect.spawn[str]] = []

    def spawn(*words: str, rows: int = 40, **variables: str) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            "/bin/sh",
            ["-c", SHELL, "sh", sys.executable, "-m", "device_app", *words],
            env=os.environ | environment | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | variables,
            dimensions=(rows, 100),
            encoding="utf-8",
            timeout=20,
        )
        children.append(child)
        return child

    yield spawn
    for child in children:
        child.close(force=True)


def rest_of(child: pexpect.spawn[str], status: int) -> str:
    """Wait for the end, check that the terminal is as it was, and return what was printed before."""
    child.expect(rf"status {status}\r\n")
    printed = str(child.before)
    child.expect("finished")
    settings = str(child.before)
    assert re.search(r"[^-]icanon", settings)
    assert re.search(r"[^-]echo\b", settings)
    assert "Traceback" not in printed
    assert "secret" not in printed
    return printed


@pytest.mark.parametrize("rows", [40, 10])
def test_login_approved(server: ScriptedServer, start: Start, rows: int) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", PENDING, PENDING, GRANTED)
    child = start("login", "--no-browser", rows=rows)
    child.expect(re.escape(f"{server.address}/activate"))
    child.expect("BDWP-HQPK")
    child.expect_exact(HIDE_CURSOR)
    child.expect(r"1[45]:\d\d.* left")
    printed = rest_of(child, 0)
    assert SHOW_CURSOR in printed
    assert printed.endswith("Logged in.\r\n")


def test_login_denied(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", (403, {"error": "access_denied"}))
    printed = rest_of(start("login", "--no-browser"), 1)
    assert SHOW_CURSOR in printed
    assert printed.endswith("The request was refused. Nothing was stored.\r\n")


def test_login_interrupted(server: ScriptedServer, start: Start, token_file: Path) -> None:
    server.offer_code(interval=1)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true")
    child.expect("Press Enter")
    child.sendintr()
    printed = rest_of(child, 130)
    assert SHOW_CURSOR in printed
    assert printed.endswith("Interrupted.\r\n")
    assert not token_file.exists()


def test_login_terminated(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=1)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true")
    child.expect("Press Enter")
    # The shell's one child is the program.
    with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as children:  # noqa: PTH123
        os.kill(int(children.read()), signal.SIGTERM)
    assert SHOW_CURSOR in rest_of(child, 143)


def test_login_survives_the_loss_of_the_network(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", (0, ""), GRANTED)
    child = start("login", "--no-browser")
    child.expect("the issuer cannot be reached")
    assert "Logged in." in rest_of(child, 0)


def test_an_expired_code_can_be_replaced(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0, expires_in=0.3)
    server.on("POST /token", PENDING)
    child = start("login", "--no-browser")
    child.expect(r"Get a new one\? \[Y/n\]: ")
    server.offer_code(interval=0, user_code="ZZZZ-ZZZZ")
    server.on("POST /token", GRANTED)
    child.sendline("")
    child.expect("ZZZZ-ZZZZ")
    assert "Logged in." in rest_of(child, 0)


def test_an_expired_code_need_not_be_replaced(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0, expires_in=0.3)
    server.on("POST /token", PENDING)
    child = start("login", "--no-browser")
    child.expect(r"Get a new one\?")
    child.sendline("n")
    assert "has expired" in rest_of(child, 1)


def test_enter_opens_the_browser(server: ScriptedServer, start: Start, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    server.offer_code(interval=0)
    server.on("POST /token", PENDING)
    # The approval waits for the browser.
    server.before_answer = lambda _: server.on("POST /token", GRANTED) if opened.exists() else None
    child = start("login", BROWSER=f"{browser} %s")
    child.expect("Press Enter")
    child.send("x\r")
    assert "Logged in." in rest_of(child, 0)
    assert opened.read_text() == f"{server.address}/activate?user_code=BDWP-HQPK\n"


def test_a_dumb_terminal_gets_plain_lines(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", GRANTED)
    assert "\x1b" not in rest_of(start("login", TERM="dumb"), 0)


def test_tables_fit_the_terminal(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", GRANTED)
    rest_of(start("login", "--no-browser"), 0)
    device = {"id": "dev_0123456789abcdef0123", "name": "Hall\x1b[2J [b]hub", "kind": "hub", "status": "online"}
    server.on("GET /v1/devices", (200, {"items": [device], "next_cursor": None}))
    printed = rest_of(start("devices"), 0)
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert "dev_0123456789abcdef0123  Hall[2J [b]hub  hub" in plain
    assert all(len(line) <= 100 for line in plain.splitlines())
