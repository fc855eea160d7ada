"""The program as a process on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pexpect
import pytest

from mock_issuer import Config, Server
from tests.kit.network import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from device_app.model.tokens import Tokens
    from tests.device_app.conftest import Answer, ScriptedServer

    Start = Callable[..., pexpect.spawn[str]]

PENDING = (403, {"error": "authorization_pending"})
GRANTED = (200, {"access_token": "access-secret", "token_type": "Bearer", "expires_in": 3600})
USER_CODE = r"(?<![A-Z])[B-Z]{4}-[B-Z]{4}(?![A-Z])"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Runs the program, and then prints its exit status and the terminal's settings.
REPORT = 'echo "status $?"; stty -a; echo finished'
SHELL = 'trap : INT; "$@"; ' + REPORT
# The same with job control: after Ctrl-Z it prints the terminal's settings and continues the program.
SHELL_WITH_JOBS = 'set -m; "$@"; echo "suspended $?"; stty -a; fg; ' + REPORT


# After closing the pseudo-terminal, before checking whether the shell has ended.
CLOSE_SECONDS = 0.02


def restore_sigint() -> None:
    # A test run started with `&` or under nohup ignores SIGINT; a child inherits that, and no shell can undo it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def tokens(tokens: Tokens) -> Tokens:
    """Return tokens without an expiry, since the processes use the real clock."""
    return replace(tokens, expires_at=None)


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    children: list[pexpect.spawn[str]] = []

    # These variables of the test run's own terminal would override the pseudo-terminal's size.
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}

    def spawn(
        *words: str, rows: int = 40, columns: int = 100, shell: str = SHELL, **variables: str
    ) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            "/bin/sh",
            ["-c", shell, "sh", sys.executable, "-m", "device_app", *words],
            env=inherited | environment | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | variables,
            dimensions=(rows, columns),
            encoding="utf-8",
            timeout=20,
            preexec_fn=restore_sigint,
        )
        child.ptyproc.delayafterclose = CLOSE_SECONDS  # type: ignore[attr-defined]  # the stubs leave it out
        children.append(child)
        return child

    yield spawn
    for child in children:
        child.close(force=True)


def rest_of(child: pexpect.spawn[str], status: int, *, timeout: float = -1) -> str:
    """Wait for the end, check that the terminal's settings are restored, and return what was printed."""
    child.expect(rf"status {status}\r\n", timeout=timeout)
    printed = str(child.before)
    child.expect("finished")
    settings = str(child.before)
    assert re.search(r"[^-]icanon", settings)
    assert re.search(r"[^-]echo\b", settings)
    assert "Traceback" not in printed
    assert "secret" not in printed
    return printed


def rest_of_interrupted(child: pexpect.spawn[str]) -> str:
    """Press Ctrl-C, and return what was printed until the end.

    A signal that arrives after `input()` has checked for signals, but before it reads, is noticed only when the read
    ends. So press it a second time if nothing happens.
    """
    child.sendintr()
    try:
        return rest_of(child, 130, timeout=5)
    except pexpect.TIMEOUT:
        child.sendintr()
        return rest_of(child, 130)


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
    assert printed.endswith("Logged in. Next: device devices\r\n")


def test_login_denied(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", (403, {"error": "access_denied"}))
    printed = rest_of(start("login", "--no-browser"), 1)
    assert SHOW_CURSOR in printed
    assert printed.endswith("The login was denied. Nothing was stored.\r\n")


def test_login_interrupted(server: ScriptedServer, start: Start, token_file: Path) -> None:
    server.offer_code(interval=1)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true")
    child.expect("Press Enter")
    printed = rest_of_interrupted(child)
    assert SHOW_CURSOR in printed
    assert printed.endswith("Interrupted.\r\n")
    assert not token_file.exists()


def test_login_terminated(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=1)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true")
    child.expect("Press Enter")
    # The program is the only child of the shell.
    with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as children:  # noqa: PTH123
        os.kill(int(children.read()), signal.SIGTERM)
    assert SHOW_CURSOR in rest_of(child, 143)


def test_login_suspended(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=1)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true", shell=SHELL_WITH_JOBS)
    child.expect("Press Enter")
    child.sendcontrol("z")
    child.expect(r"suspended 1\d\d\r\n")
    assert str(child.before).rfind(SHOW_CURSOR) > str(child.before).rfind(HIDE_CURSOR)
    child.expect_exact(HIDE_CURSOR)
    settings = str(child.before)
    assert re.search(r"[^-]icanon", settings)
    assert re.search(r"[^-]echo\b", settings)
    child.expect("Press Enter")
    server.on("POST /token", GRANTED)
    printed = rest_of(child, 0)
    assert SHOW_CURSOR in printed
    assert printed.endswith("Logged in. Next: device devices\r\n")


def test_login_in_the_background_leaves_the_terminal_alone(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", PENDING, GRANTED)
    printed = rest_of(start("login", BROWSER="true", shell='set -m; "$@" & wait $!; ' + REPORT), 0)
    assert "BDWP-HQPK" in printed
    assert HIDE_CURSOR not in printed
    assert printed.endswith("Logged in. Next: device devices\r\n")


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
    assert "The code expired" in rest_of(child, 1)


def test_enter_opens_the_browser(server: ScriptedServer, start: Start, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    server.offer_code(interval=0)
    server.on("POST /token", PENDING)
    # Approve when the browser has been opened.
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


@pytest.mark.usefixtures("logged_in")
def test_tables_fit_the_terminal(server: ScriptedServer, start: Start) -> None:
    device = {"id": "dev_0123456789abcdef0123", "name": "Hall\x1b[2J [b]hub", "kind": "hub", "status": "online"}
    server.on("GET /v1/devices", (200, {"items": [device], "next_cursor": None}))
    printed = rest_of(start("devices"), 0)
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert "dev_0123456789abcdef0123  Hall[2J [b]hub  hub" in plain
    assert all(len(line) <= 100 for line in plain.splitlines())


@pytest.mark.usefixtures("logged_in")
def test_a_narrow_terminal_gets_lines_instead_of_a_table(server: ScriptedServer, start: Start) -> None:
    device = {"id": "dev_0123456789abcdef0123", "name": "Hall", "kind": "set_top_box", "status": "offline"}
    server.on("GET /v1/devices", (200, {"items": [device], "next_cursor": None}))
    plain = re.sub(r"\x1b\[[\d;]*m", "", rest_of(start("devices", columns=40), 0))
    assert [line.rstrip() for line in plain.splitlines()] == [
        "Hall",
        "set_top_box, offline, -",
        "dev_0123456789abcdef0123",
        "",
    ]


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[Server]:
    with Server(Config(poll_interval_seconds=1)) as issuer:
        yield issuer


@pytest.fixture
def issuer(shared_issuer: Server) -> Server:
    """Return an issuer in its initial state."""
    shared_issuer.reset()
    return shared_issuer


def user_code(child: pexpect.spawn[str]) -> str:
    child.expect(USER_CODE)
    return str(child.after)


@pytest.mark.slow  # a real issuer's shortest polling interval is one second
def test_a_login_at_a_real_issuer(issuer: Server, start: Start) -> None:
    child = start("login", "--no-browser", DEVICE_ISSUER=issuer.url)
    code = user_code(child)
    child.expect("not approved yet")
    issuer.approve(code)
    printed = rest_of(child, 0)
    assert SHOW_CURSOR in printed
    assert printed.endswith("Logged in as Alice Example. Next: device devices\r\n")


@pytest.mark.slow  # a real issuer's shortest polling interval is one second
def test_a_refusal_at_a_real_issuer(issuer: Server, start: Start) -> None:
    child = start("login", "--no-browser", DEVICE_ISSUER=issuer.url)
    issuer.deny(user_code(child))
    printed = rest_of(child, 1)
    assert SHOW_CURSOR in printed
    assert printed.endswith("The login was denied. Nothing was stored.\r\n")


@pytest.mark.slow  # a real issuer's shortest polling interval is one second
def test_an_expired_code_of_a_real_issuer_is_replaced(issuer: Server, start: Start) -> None:
    child = start("login", "--no-browser", DEVICE_ISSUER=issuer.url)
    first = user_code(child)
    issuer.expire(first)
    child.expect(r"Get a new one\? \[Y/n\]: ")
    child.sendline("y")
    second = user_code(child)
    assert second != first
    issuer.approve(second)
    assert "Logged in as Alice Example." in rest_of(child, 0)


@pytest.mark.slow  # a real issuer's shortest polling interval is one second
def test_a_network_that_is_lost_and_found_again(start: Start) -> None:
    with Proxy() as proxy, Server(Config(poll_interval_seconds=1), issuer=proxy.url) as issuer:
        proxy.target_port = int(issuer.url.rsplit(":", 1)[1].rstrip("/"))
        child = start("login", "--no-browser", DEVICE_ISSUER=proxy.url)
        code = user_code(child)
        child.expect("not approved yet")
        proxy.disconnect()
        child.expect("the issuer cannot be reached")
        issuer.approve(code)
        proxy.reconnect()
        assert "Logged in as Alice Example." in rest_of(child, 0)


@pytest.mark.parametrize("state", ["before the first poll", "after one", "at the question"])
def test_an_interrupted_login_leaves_the_terminal_as_it_was(
    server: ScriptedServer, start: Start, token_file: Path, state: str
) -> None:
    server.offer_code(interval=60 if state == "before the first poll" else 0)
    server.on("POST /token", PENDING)
    child = start("login", BROWSER="true")
    child.expect("Press Enter")
    if state != "before the first poll":
        child.expect("not approved yet")
    if state == "at the question":
        server.on("POST /token", (403, {"error": "expired_token"}))
        child.expect(r"Get a new one\?")
    printed = rest_of_interrupted(child)
    assert "Interrupted." in printed
    assert state == "at the question" or SHOW_CURSOR in printed
    assert "\x1b[?1049h" not in printed  # no alternate screen to leave
    assert not token_file.exists()


def test_with_json_the_code_is_shown_on_the_terminal(
    server: ScriptedServer, start: Start, tmp_path: Path, environment: dict[str, str]
) -> None:
    server.offer_code(
        interval=0, verification_uri="https://tv.example/a", verification_uri_complete="https://tv.example/b"
    )
    server.on("POST /token", PENDING, GRANTED)
    # Standard output goes to a file; the code is shown on the terminal nevertheless.
    output = tmp_path / "output.json"
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", f"{sys.executable} -m device_app login --no-browser --json > {output}; echo status $?"],
        env=os.environ | environment | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        dimensions=(40, 100),
        encoding="utf-8",
        timeout=20,
    )
    child.expect("Scan the QR code")
    child.expect("BDWP-HQPK")
    child.expect("status 0")
    child.close()
    assert json.loads(output.read_text())["state"] == "logged_in"


@pytest.mark.usefixtures("logged_in")
def test_step_up_logs_in_and_repeats_the_request(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", GRANTED)
    stale: Answer = (401, {}, {"WWW-Authenticate": 'Bearer error="insufficient_user_authentication", max_age="60"'})
    server.on("GET /v1/devices", stale, (200, {"items": [], "next_cursor": None}))
    printed = rest_of(start("devices", BROWSER="true"), 0)
    assert "The API requires a newer or stronger login." in printed
    assert "BDWP-HQPK" in printed
    assert "You have no devices." in printed
    assert server.to("/device")[-1].form["max_age"] == "60"


@pytest.mark.usefixtures("logged_in")
def test_step_up_logs_in_only_once(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", GRANTED)
    stale: Answer = (401, {}, {"WWW-Authenticate": 'Bearer error="insufficient_user_authentication", acr_values="mfa"'})
    server.on("GET /v1/devices", stale)
    assert "Run: device login" in rest_of(start("devices"), 3)
    assert len(server.to("/device")) == 1


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize(
    ("columns", "variables", "drawn", "absent"),
    [
        (80, {}, "[\u2801-\u28ff]", "[.':]{3}"),
        (120, {"NO_COLOR": "1"}, "[\u2801-\u28ff]", "[.':]{3}"),
        (80, {"PYTHONIOENCODING": "ascii"}, r"[.':]{3}", "[\u2800-\u28ff]"),
        (80, {"TERM": "dumb"}, r"[.':]{3}", "[\u2800-\u28ff\x1b]"),
        (30, {}, "11", "[\u2800-\u28ff]"),
    ],
)
def test_readings_are_plotted(  # noqa: PLR0917  # fixtures and a row's columns
    server: ScriptedServer, start: Start, columns: int, variables: dict[str, str], drawn: str, absent: str
) -> None:
    readings = [
        {"time": f"2026-11-21T{hour:02}:00:00Z", "metric": "temperature", "value": abs(hour - 12), "unit": "C"}
        for hour in range(24)
    ]
    server.on("GET /v1/devices/dev_1/readings", (200, {"items": readings, "next_cursor": None}))
    printed = rest_of(start("readings", "dev_1", "--limit", "24", columns=columns, **variables), 0)
    assert re.search(drawn, printed)
    assert not re.search(absent, printed)
    if columns > 30:
        assert "temperature (C)" in printed
        assert re.search(r"2026-11-21 00:00 +2026-11-21 23:00 UTC", printed)
        plot = re.sub(r"\x1b\[[\d;]*m", "", printed).partition("temperature (C)")[2]
        assert all(len(line) <= columns for line in plot.splitlines())


@pytest.mark.parametrize(
    ("columns", "rows", "is_drawn"),
    [
        (40, 24, True),
        (40, 22, False),
        (40, 40, True),
        (32, 60, False),
        (80, 24, True),
        (80, 19, False),
        (200, 50, True),
    ],
)
def test_the_qr_code_is_whole_or_left_out(
    server: ScriptedServer, start: Start, columns: int, rows: int, *, is_drawn: bool
) -> None:
    # Short enough for a QR code that is 33 columns wide and 17 lines high.
    link = "https://tv.example/a?c=BDWP-HQPK"
    server.offer_code(interval=0, verification_uri="https://tv.example/a", verification_uri_complete=link)
    server.on("POST /token", PENDING, GRANTED)
    child = start("login", "--no-browser", columns=columns, rows=rows)
    child.expect_exact(HIDE_CURSOR)
    lines = re.sub(r"\x1b\[[\d;]*m", "", str(child.before)).splitlines()
    # The three finder patterns.
    assert sum(line.count("█ ▀▀▀ █") for line in lines) == (3 if is_drawn else 0)
    assert ("A larger window shows a QR code." in lines) != is_drawn
    # The countdown needs the two lines below it, and one is left for the shell.
    assert len(lines) + 2 <= rows
    assert all(len(line) <= columns for line in lines)
    rest_of(child, 0)


def test_an_address_of_this_machine_is_not_to_be_scanned(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", PENDING, GRANTED)
    printed = rest_of(start("login", "--no-browser"), 0)
    assert "In a browser on this machine, open" in printed
    assert "QR code" not in printed
    assert "█ ▀▀▀ █" not in printed


@pytest.mark.usefixtures("logged_in")
def test_the_plot_stands_above_the_table(server: ScriptedServer, start: Start) -> None:
    readings = [
        {"time": f"2026-11-21T{hour:02}:00:00Z", "metric": "temperature", "value": hour, "unit": "C"}
        for hour in range(24)
    ]
    server.on("GET /v1/devices/dev_1/readings", (200, {"items": readings, "next_cursor": None}))
    printed = rest_of(start("readings", "dev_1"), 0)
    assert printed.index("temperature (C)") < printed.index("Time (UTC)")


def test_without_unicode_the_code_is_text_alone(server: ScriptedServer, start: Start) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", GRANTED)
    printed = rest_of(start("login", "--no-browser", PYTHONIOENCODING="ascii"), 0)
    assert "BDWP-HQPK" in printed
    assert "?" not in printed.replace("[?25", "")
