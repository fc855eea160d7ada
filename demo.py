"""`make run`: run the mock issuer and the API on this machine, and print commands to try.

PORT and MOCK_ISSUER_PORT set the ports; all settings of the API apply.
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
# Shorter than the 25 s that gunicorn gives running requests: Ctrl-C should end a demo soon.
_STOP_SECONDS = 8
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Child:
    """One of the two programs; `output` is where it writes, None for the terminal."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes] | None = None


class _Stop:
    """Whether the user asked to stop. Not a threading.Event: a signal handler must not take a lock."""

    requested = False

    def request(self, _number: int, _frame: object) -> None:
        self.requested = True


class DemoError(Exception):
    """The reason why the demo cannot run, as one sentence for the user."""


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
        _stop_all(children)
    print("\nBoth have stopped.")
    return 0


def _run(children: list[_Child], stop: _Stop) -> None:
    api_port = _port_setting("PORT", 8000)
    issuer_port = _port_setting("MOCK_ISSUER_PORT", 9000)
    if api_port == issuer_port:
        raise DemoError(f"PORT and MOCK_ISSUER_PORT are both {api_port}: they must differ.")
    config = Config(issuer=f"http://{_HOST}:{issuer_port}/")
    audience = config.apis[0].audience
    api_url = f"http://{_HOST}:{api_port}"

    # The issuer's log goes to a file, for a readable terminal; it is shown if the issuer fails.
    output = tempfile.TemporaryFile()  # noqa: SIM115  # _stop_all closes it
    issuer = [sys.executable, "-m", "mock_issuer", "--port", str(issuer_port), "--api-url", api_url]
    children.append(_Child("mock issuer", _start(issuer, os.environ, output), output))
    api_environment = {
        "API_SAMPLE_DATA": "true",
        # Several processes, as in production. No log line per request, for a readable terminal.
        "WEB_CONCURRENCY": "2",
        "API_LOG_LEVEL": "warning",
        # The playground is a page of the issuer that calls the API.
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


def _port_setting(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise DemoError(f"{variable} must be a port number, not {text}.")
    port = int(text)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Like the servers: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as exc:
            raise DemoError(
                f"Port {port} on {_HOST} is not available ({exc.strerror}): stop the program that listens there, "
                f"or choose another port with {variable}={port + 1} make run."
            ) from exc
    return port


def _start(
    command: list[str], environment: Mapping[str, str], errors: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    # In a new session, so that Ctrl-C reaches only this program, which then stops the others in order.
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
    """Migrate the database, as every deployment does before the API starts."""
    process = _start([sys.executable, "-m", "api", "db", "upgrade"], environment)
    try:
        status = process.wait(_START_SECONDS)
    except subprocess.TimeoutExpired as exc:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DemoError(f"The database was not upgraded within {_START_SECONDS} seconds.") from exc
    if status:
        raise DemoError(f"device-api db upgrade failed with status {status}; see its output above.")


def _wait_for(url: str, name: str, children: list[_Child], stop: _Stop) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not stop.requested:
        _check_alive(children)
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass  # not listening yet
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
            raise DemoError(f"The {child.name} exited with status {status}; see its output above.")


def _stop_all(children: list[_Child]) -> None:
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
    """Return an access token of the machine client, for the commands to paste (RFC 6749 §4.4)."""
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

  API           {api_url} (documentation: {api_url}/docs)
  Mock issuer   {config.issuer} (enter codes at {config.issuer}activate)
  Demo users    {users}

To try in another terminal:

  List the sample devices with a token (200)
    curl -i -H "Authorization: Bearer {reading}" {devices}

  The same without a token (401), and with a token that lacks the scope (403)
    curl -i {devices}
    curl -i -H "Authorization: Bearer {limited}" {devices}

  Log in as a device: approve it in the browser, then show the token and the devices
    {device} login
    {device} status
    {device} devices

  See the whole flow on one page, with all its requests
    {config.issuer}playground

Ctrl-C stops both."""


def _device_command(config: Config, api_url: str) -> str:
    """Return the device app's command, with the settings that differ from its defaults."""
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
