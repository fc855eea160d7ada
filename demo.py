"""`make run`: run the mock issuer and the API on this machine, and print commands to try.

PORT and MOCK_ISSUER_PORT set the ports; all settings of the API apply. PHONE=1 also serves the issuer's pages to the
local network, so that a phone can approve a device; PHONE=ADDRESS names this machine's address there.
"""

import contextlib
import ipaddress
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import requests

from mock_issuer import Config

_HOST = "127.0.0.1"
_API_PORT = 8000
_ROOT = Path(__file__).resolve().parent
_BIN = Path(sys.executable).parent
_START_SECONDS = 30
# Shorter than the 25 s that gunicorn gives running requests: Ctrl-C should end a demo soon.
_STOP_SECONDS = 8
_POLL_SECONDS = 0.1
# Of the documentation block TEST-NET-1 (RFC 5737): it belongs to no machine.
_ADDRESS_ELSEWHERE = ("192.0.2.1", 9)
# The argument with which this program ends the servers after the demo was killed.
_END_SERVERS = "end-servers"


@dataclass(frozen=True)
class _Child:
    """One of the two servers; `output` is where it writes, None for the terminal."""

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class _Addresses:
    """Where the servers are; `phone_address` is this machine's address in the local network, None if not served."""

    config: Config
    api_url: str
    phone_address: str | None


class _Stop:
    """Whether the user asked to stop. Not a threading.Event: a signal handler must not take a lock."""

    requested = False

    def request(self, _number: int, _frame: object) -> None:
        self.requested = True


class DemoError(Exception):
    """The reason why the demo cannot run, as one sentence for the user."""


def main() -> int:
    """Run until Ctrl-C, SIGTERM, or the end of the pipe that standard output goes to; return the exit status."""
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop.request)
    children: list[_Child] = []
    try:
        _run(children, stop)
        message = "\nBoth have stopped."
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    except BrokenPipeError:
        message = ""
    finally:
        _stop_all(children)
    try:
        print(message, flush=True)
    except BrokenPipeError:
        # Python flushes standard output again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(children: list[_Child], stop: _Stop) -> None:
    addresses = _addresses()
    config, api_url = addresses.config, addresses.api_url
    with _server_guard() as guard:
        # The issuer's log goes to a file, for a readable terminal; it is shown if the issuer fails.
        output = tempfile.TemporaryFile()  # noqa: SIM115  # _stop_all closes it
        children.append(_Child("mock issuer", _start(_issuer_command(addresses), os.environ, output, guard), output))
        api_environment = {
            "API_SAMPLE_DATA": "true",
            # Several processes, as in production. No log line per request, for a readable terminal.
            "WEB_CONCURRENCY": "2",
            "API_LOG_LEVEL": "warning",
            # The playground is a page of the issuer that calls the API.
            "API_CORS_ORIGINS": config.issuer.rstrip("/"),
            # It can bind its tokens to a key; proofs name the API's address.
            "API_DPOP": "optional",
            "API_PUBLIC_URL": api_url,
            **os.environ,
            "HOST": _HOST,
            "PORT": api_url.rsplit(":", 1)[1],
            "API_ISSUERS": config.issuer,
            "API_AUDIENCE": config.apis[0].audience,
        }
        _upgrade_database(api_environment)
        gunicorn = [str(_BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
        children.append(_Child("API", _start(gunicorn, api_environment, None, guard)))
        _wait_for(f"{config.issuer}.well-known/openid-configuration", "The mock issuer", children, stop)
        _wait_for(f"{api_url}/readyz", "The API", children, stop)
        if not stop.requested:
            print(_what_to_try(addresses), flush=True)
        while not stop.requested and not _output_has_ended():
            _check_alive(children)
            time.sleep(_POLL_SECONDS)
        _stop_all(children)


def _addresses() -> _Addresses:
    phone_address = _phone_address(os.environ.get("PHONE", ""))
    api_port = _port_setting("PORT", _API_PORT, _HOST)
    issuer_port = _port_setting("MOCK_ISSUER_PORT", 9000, "0.0.0.0" if phone_address else _HOST)  # noqa: S104  # on request
    if api_port == issuer_port:
        raise DemoError(f"PORT and MOCK_ISSUER_PORT are both {api_port}: they must differ.")
    config = Config(issuer=f"http://{_HOST}:{issuer_port}/")
    if phone_address:
        config = replace(config, verification_uri=f"http://{phone_address}:{issuer_port}/activate")
    return _Addresses(config=config, api_url=f"http://{_HOST}:{api_port}", phone_address=phone_address)


def _phone_address(setting: str) -> str | None:
    """Return this machine's IPv4 address in the local network if PHONE asks for it."""
    if setting in {"", "0"}:
        return None
    if setting == "1":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # Chooses the network interface of the default route; sends nothing.
                probe.connect(_ADDRESS_ELSEWHERE)
            except OSError as exc:
                raise DemoError("This machine is in no network: name its address with PHONE=192.168.1.5.") from exc
            return str(probe.getsockname()[0])
    try:
        return str(ipaddress.IPv4Address(setting))
    except ValueError as exc:
        raise DemoError(f"PHONE must be 1 or this machine's IPv4 address in the local network, not {setting}.") from exc


def _issuer_command(addresses: _Addresses) -> list[str]:
    config = addresses.config
    port = config.issuer.rstrip("/").rsplit(":", 1)[1]
    command = [sys.executable, "-m", "mock_issuer", "--port", port, "--api-url", addresses.api_url]
    if addresses.phone_address:
        # The API and the device app accept plain http from loopback only, so the issuer keeps its name there.
        command += ["--host", "0.0.0.0", "--issuer", config.issuer, "--verification-uri", config.verification_uri]  # noqa: S104
    return command


def _port_setting(variable: str, default: int, host: str) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise DemoError(f"{variable} must be a port number, not {text}.")
    port = int(text)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Like the servers: a port with connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise DemoError(
                f"Port {port} on {host} is not available ({exc.strerror}): stop the program that listens there, "
                f"or choose another port with {variable}={port + 1} make run."
            ) from exc
    return port


def _server_guard() -> subprocess.Popen[bytes]:
    """Start a process that ends the servers when this one ends, even by SIGKILL."""
    return subprocess.Popen([sys.executable, __file__, _END_SERVERS], stdin=subprocess.PIPE, start_new_session=True)


def _end_servers() -> None:
    """End the process groups that standard input names, a line each, when it ends."""
    groups = {int(line) for line in sys.stdin}
    _signal_groups(groups, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and _signal_groups(groups, 0):
        time.sleep(_POLL_SECONDS)
    _signal_groups(groups, signal.SIGKILL)


def _signal_groups(groups: set[int], number: int) -> bool:
    """Send a signal to process groups; return whether one of them still exists."""
    found = False
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
            found = True
    return found


def _start(
    command: list[str],
    environment: Mapping[str, str],
    errors: IO[bytes] | None = None,
    guard: subprocess.Popen[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    # In a new session, so that Ctrl-C reaches only this program, which then stops the others in order.
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    if guard is not None and guard.stdin is not None:
        guard.stdin.write(f"{process.pid}\n".encode())
        guard.stdin.flush()
    return process


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


def _output_has_ended() -> bool:
    """Return whether nobody reads standard output any more, as after `make run | head`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _stop_all(children: list[_Child]) -> None:
    while children:
        child = children.pop()
        if child.process.poll() is None:
            child.process.terminate()
            try:
                child.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
        if child.output is not None:
            child.output.close()


def _what_to_try(addresses: _Addresses) -> str:
    config, api_url = addresses.config, addresses.api_url
    users = ", ".join(f"{user.username} / {user.password}" for user in config.users)
    device = _device_command()
    settings = _device_settings(addresses)
    lines = [
        "The device API and its mock issuer are running. Ctrl-C stops both.",
        "",
        "Watch the device flow on one page, with every request:",
        f"  {config.issuer}playground",
        "",
        f"  API documentation   {api_url}/docs",
        f"  Enter codes at      {config.verification_uri or f'{config.issuer}activate'}",
        f"  Demo users          {users}",
        "",
        "Or be a device. In another terminal, in this folder:",
        *([f"  export {settings}"] if settings else []),
        f"  {device} login",
        f"  {device} devices",
        "Call the API with the token (200), then where the token lacks the scope (403):",
        f'  AUTH="Authorization: Bearer $({device} token)"',
        f'  curl -i -H "$AUTH" {api_url}/v1/devices',
        f'  curl -i -H "$AUTH" -X POST {api_url}/v1/devices',
        "and without a token (401):",
        f"  curl -i {api_url}/v1/devices",
    ]
    if addresses.phone_address:
        lines += [
            "",
            f"WARNING: everybody in the network of {addresses.phone_address} can log in as a demo user",
            "and approve codes. Do this only in a network that you trust.",
        ]
    return "\n".join(lines)


def _device_settings(addresses: _Addresses) -> str:
    """Return the variables of the device app that differ from its defaults, for a shell."""
    settings = {}
    if addresses.config.issuer != Config().issuer:
        settings["DEVICE_ISSUER"] = addresses.config.issuer
    if not addresses.api_url.endswith(f":{_API_PORT}"):
        settings["DEVICE_API"] = addresses.api_url
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())


def _device_command() -> str:
    command = _BIN / "device"
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    return shlex.quote(str(command))


if __name__ == "__main__":
    if sys.argv[1:] == [_END_SERVERS]:
        _end_servers()
    else:
        sys.exit(main())
