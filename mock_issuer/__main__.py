"""`python -m mock_issuer` and `mock-issuer`: an issuer as a process."""

import argparse
import logging
import signal
import sys
from typing import get_args

from mock_issuer.config import Config, ConfigError, Profile
from mock_issuer.server import Server

_HIGHEST_PORT = 65_535
_ENDING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve until SIGTERM or SIGINT, then exit with status 0.

    A port that cannot be had is told in a sentence and exits with status 1, wrong options with 2.
    """
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Blocked before any thread starts, and waited for below: a handler that sets an event can meet its own lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        server = Server(Config(profile=options.profile), host=options.host, port=options.port, issuer=options.issuer)
    except OSError as exc:
        # The socket module appends the address, which the sentence has already.
        reason = str(exc.strerror).partition(" (")[0]
        sys.exit(f"mock-issuer cannot listen on {options.host}, port {options.port}: {reason}.")
    except ConfigError as exc:
        print(f"mock-issuer: {exc}", file=sys.stderr)  # noqa: T201  # a command line talks
        sys.exit(2)
    with server:
        named = "" if server.config.issuer == server.url else f" as {server.config.issuer}"
        print(f"Mock issuer listening on {server.url}{named}", flush=True)  # noqa: T201  # a command line talks
        signal.sigwait(_ENDING)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-issuer", description="An OAuth 2.0 issuer with the device flow, for tests. Not for production."
    )
    parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="port to listen on, 0 for any (%(default)s)")
    parser.add_argument("--issuer", metavar="URL", help="issuer identifier (http://HOST:PORT/)")
    parser.add_argument(
        "--profile", choices=get_args(Profile), default="auth0", help="statuses of errors (%(default)s)"
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


if __name__ == "__main__":
    main()
