"""gunicorn's messages and those of libraries: lines of JSON, without a client's bytes."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from gunicorn.config import Config  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http.errors import InvalidHeader  # type: ignore[import-untyped]  # likewise

from api.operations.log.configuration import LineHandler
from api.operations.server.gunicorn_log import GunicornLogger


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def server_logger(errorlog: str = "-") -> GunicornLogger:
    config = Config()
    config.set("errorlog", errorlog)
    return GunicornLogger(config)


def test_a_message_of_the_server_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    server_logger().critical("WORKER TIMEOUT (pid:%s)", 7)
    (line,) = logged(capsys)
    assert line.pop("timestamp")
    assert line == {
        "level": "critical",
        "event": "server",
        "pid": os.getpid(),
        "logger": "gunicorn.error",
        "message": "WORKER TIMEOUT (pid:7)",
    }


def test_a_traceback_is_one_member(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        os.write(-1, b"")
    except OSError:
        server_logger().exception("Socket error processing request.")
    (line,) = logged(capsys)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("Bad file descriptor")


def test_a_traceback_quotes_no_request(capsys: pytest.CaptureFixture[str]) -> None:
    def parse(header: str) -> None:
        raise InvalidHeader(header)

    def handle(header: str) -> None:
        try:
            parse(header)
        except InvalidHeader as exc:
            raise RuntimeError(str(exc)) from exc

    credentials = "Bearer secret"  # not in the line of the call, which a traceback shows
    try:
        handle(credentials)
    except RuntimeError:
        server_logger().exception("Error handling request")
    (line,) = logged(capsys)
    assert line["exception"].endswith("RuntimeError")
    assert "in handle" in line["exception"]
    assert "Bearer secret" not in line["exception"]


def test_an_error_file_gets_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log"
    log = server_logger(str(file))
    log.error("Worker (pid:%s) was sent SIGKILL!", 7)
    for handler in log.error_log.handlers:
        handler.close()
    assert json.loads(file.read_text(encoding="utf-8"))["message"] == "Worker (pid:7) was sent SIGKILL!"
    assert logged(capsys) == []


def test_a_reload_of_the_configuration_repeats_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = server_logger()
    log.setup(log.cfg)
    log.error("once")
    assert len(logged(capsys)) == 1
    assert len([one for one in logging.getLogger().handlers if isinstance(one, LineHandler)]) == 1


def test_arguments_that_do_not_fit_raise_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    server_logger().error("%d workers", "x")
    assert logged(capsys)[0]["message"] == "%d workers"


def test_warnings_of_libraries_are_lines(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("sqlalchemy.pool")
    library.info("SELECT 1")
    library.warning("Pool %s", "full")
    (line,) = logged(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("library", "warning", "sqlalchemy.pool")
    assert line["message"] == "Pool full"
    assert "request_id" not in line
    with app.test_request_context(headers={"X-Request-ID": "abc"}):
        library.error("lost")
    assert logged(capsys)[0]["request_id"] == "abc"


def test_warnings_of_python_are_lines(tmp_path: Path) -> None:
    # In a process of its own: pytest has put its own function in the place of warnings.showwarning.
    code = "import logging, warnings; from api.operations.log.configuration import configure_logging\n"
    code += "configure_logging(logging.INFO); warnings.warn('old')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["event"], line["logger"], line["level"]) == ("library", "py.warnings", "warning")
    assert "UserWarning: old" in line["message"]
