"""`make run`: the mock issuer and the API side by side on this machine, and what to try with them.

PORT and MOCK_ISSUER_PORT choose the ports; every setting of the API works here too.
"""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from mock_issuer import Client, Config

_HOST = "127.0.0.1"
_ROOT = Path(__file__).resolve().parent
_BIN = Path(sys.executable).parent
_START_SECONDS = 30
# gunicorn lets requests end for 25 s; nobody who pressed Ctrl-C waits for a demo that long.
_STOP_SECONDS = 8
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Child:
    """One of the two programs, and what it printed since its start where that is not for the terminal."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes] | None = None


class _Stop:
    """Whether the person wants an end. A plain flag: an event's lock could be the one that the handler interrupts."""

    requested = False

    def request(self, _number: int, _frame: object) -> None:
        self.requested = True


class DemoError(Exception):
    """Why the demo cannot run, as one sentence for the person who typed the command."""


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop.request)
    children: list[_Child] = []
    try:
        _run(children, stop)
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        _end(children)
    print("\nBoth have ended.")
    return 0


def _run(children: list[_Child], stop: _Stop) -> None:
    api_port = _free_port("PORT", 8000)
    issuer_port = _free_port("MOCK_ISSUER_PORT", 9000)
    if api_port == issuer_port:
        raise DemoError(f"PORT and MOCK_ISSUER_PORT are both {api_port}: the two need a port each.")
    config = Config(issuer=f"http://{_HOST}:{issuer_port}/")
    audience = config.apis[0].audience
    api_url = f"http://{_HOST}:{api_port}"

    # It logs each request: good to have should it fail, and in the way of what is printed below otherwise.
    output = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the process that writes to it
    issuer = [sys.executable, "-m", "mock_issuer", "--port", str(issuer_port), "--api-url", api_url]
    children.append(_Child("mock issuer", _start(issuer, os.environ, output), output))
    api_environment = {
        "API_SAMPLE_DATA": "true",
        # Two processes, as in production; requests are not logged, for the same reason.
        "WEB_CONCURRENCY": "2",
        "API_LOG_LEVEL": "warning",
        # The playground's television is a page of the issuer.
        "API_CORS_ORIGINS": config.issuer.rstrip("/"),
        **os.environ,
        "HOST": _HOST,
        "PORT": str(api_port),
        "API_ISSUERS": config.issuer,
        "API_AUDIENCE": audience,
    }
    _upgrade_database(api_environment)
    gunicorn = [str(_BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    children.append(_Child("API", _start(gunicorn, api_environment)))
    _wait_for(f"{config.issuer}.well-known/openid-configuration", "The mock issuer", children, stop)
    _wait_for(f"{api_url}/readyz", "The API", children, stop)
    if not stop.requested:
        print(_what_to_try(config, api_url, audience), flush=True)
    while not stop.requested:
        _check_alive(children)
        time.sleep(_POLL_SECONDS)


def _free_port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise DemoError(f"{variable} must be a port number, not {text}.")
    port = int(text)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port that a closed connection still lingers on is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as exc:
            raise DemoError(
                f"Port {port} on {_HOST} cannot be had ({exc.strerror}): end what listens there, "
                f"or choose another with {variable}={port + 1} make run."
            ) from exc
    return port


def _start(
    command: list[str], environment: Mapping[str, str], errors: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal is ours to pass on, in order.
    return subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


def _upgrade_database(environment: Mapping[str, str]) -> None:
    """Bring the database up to date, as whoever runs the API elsewhere does before it starts."""
    process = _start([sys.executable, "-m", "api", "db", "upgrade"], environment)
    try:
        status = process.wait(_START_SECONDS)
    except subprocess.TimeoutExpired as exc:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DemoError(f"The database was not brought up to date within {_START_SECONDS} seconds.") from exc
    if status:
        raise DemoError(f"device-api db upgrade ended with status {status}; what it printed stands above.")


def _wait_for(url: str, name: str, children: list[_Child], stop: _Stop) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not stop.requested:
        _check_alive(children)
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass  # it does not listen yet
        if time.monotonic() > deadline:
            raise DemoError(f"{name} did not answer at {url} within {_START_SECONDS} seconds.")
        time.sleep(_POLL_SECONDS)


def _check_alive(children: list[_Child]) -> None:
    for child in children:
        status = child.process.poll()
        if status is not None:
            if child.output is not None:
                child.output.seek(0)
                sys.stderr.write(child.output.read().decode(errors="replace"))
            raise DemoError(f"The {child.name} ended by itself with status {status}; what it printed stands above.")


def _end(children: list[_Child]) -> None:
    for child in reversed(children):
        if child.process.poll() is None:
            child.process.terminate()
            try:
                child.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        if child.output is not None:
            child.output.close()


def _token(config: Config, audience: str, scope: str) -> str:
    """Return a token that the issuer gives a machine, so that there is something to paste at once."""
    client = _machine_client(config)
    answer = requests.post(
        f"{config.issuer}oauth/token",
        data={"grant_type": "client_credentials", "audience": audience, "scope": scope},
        auth=(client.client_id, client.secret or ""),
        timeout=10,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def _machine_client(config: Config) -> Client:
    return next(client for client in config.clients if client.application_type == "machine")


def _what_to_try(config: Config, api_url: str, audience: str) -> str:
    devices = f"{api_url}/v1/devices"
    users = ", ".join(f"{user.username} / {user.password}" for user in config.users)
    reading = _token(config, audience, "read:devices read:readings")
    limited = _token(config, audience, "read:readings")
    device = _device_command(config, api_url)
    return f"""
The device API and its mock issuer are running.

  API           {api_url} (to read and to try at {api_url}/docs)
  Mock issuer   {config.issuer} (codes are entered at {config.issuer}activate)
  Demo users    {users}

To try in another terminal:

  The sample devices of a machine that has a token (200)
    curl -i -H "Authorization: Bearer {reading}" {devices}

  The same without a token (401), and with one that lacks the scope (403)
    curl -i {devices}
    curl -i -H "Authorization: Bearer {limited}" {devices}

  A device that logs in: approve it in the browser, then see who it speaks for, and its data
    {device} login
    {device} status
    {device} devices

  The whole flow on one page, with every request that it makes
    {config.issuer}playground

Ctrl-C ends both."""


def _device_command(config: Config, api_url: str) -> str:
    """Return the device app's command, with the settings that its defaults do not have."""
    settings = {}
    if config.issuer != Config().issuer:
        settings["DEVICE_ISSUER"] = config.issuer
    if not api_url.endswith(":8000"):
        settings["DEVICE_API"] = api_url
    command = _BIN / "device"
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in settings.items()), shlex.quote(str(command))])


if __name__ == "__main__":
    sys.exit(main())
