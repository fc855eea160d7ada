"""The command `mock-issuer` (`python -m mock_issuer`)."""

import argparse
import logging
import signal
import sys

from mock_issuer import __version__
from mock_issuer.config import ConfigError
from mock_issuer.hostile import check
from mock_issuer.options import add_flags, read_config
from mock_issuer.server import Server

_MAX_PORT = 65_535
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve until SIGTERM or SIGINT. With `check` as the first argument, run `mock_issuer.hostile.check` instead.

    Exit with status 0 after a signal, 1 if it cannot listen, 2 if the configuration is wrong; stderr says why.
    """
    if sys.argv[1:2] == ["check"]:
        sys.exit(check.main(sys.argv[2:]))
    options = _parse()
    if options.version:
        print(f"mock-issuer, version {__version__}")  # noqa: T201  # a command prints
        return
    # Rules are imported from the current directory, which the installed script does not have on its path.
    sys.path.insert(0, "")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Blocked before any thread starts, then awaited with sigwait: a handler that sets an Event can deadlock.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        config, issuer = read_config(options)
        server = Server(
            config,
            host=options.host,
            port=options.port,
            issuer=issuer,
            tls=options.tls,
            allow_control=options.allow_control,
        )
    except OSError as exc:
        # The socket module appends the address, which the message already has.
        reason = str(exc.strerror).partition(" (")[0]
        sys.exit(f"mock-issuer cannot listen on {options.host}, port {options.port}: {reason}.")
    except ConfigError as exc:
        for mistake in exc.mistakes:
            print(f"mock-issuer: {mistake}", file=sys.stderr)  # noqa: T201  # a command prints
        sys.exit(2)
    with server:
        alias = "" if server.config.issuer == server.url else f" as {server.config.issuer}"
        print(f"Mock issuer listening on {server.url}{alias}", flush=True)  # noqa: T201  # a command prints
        if server.ca_file is not None:
            print(f"Its CA is in {server.ca_file}", flush=True)  # noqa: T201  # a command prints
        signal.sigwait(_STOP_SIGNALS)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-issuer",
        description="Run a mock OAuth 2.0 issuer with the device flow and the authorization code flow, for tests. "
        "Not for production.",
        epilog="`mock-issuer check URL` sends hostile tokens to an API; see `mock-issuer check --help`.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--host", default="127.0.0.1", help="the host name or IP address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="the port, 0 for any free one (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="serve https with a new certificate; its CA file is printed")
    parser.add_argument(
        "--allow-control",
        action="store_true",
        default=None,
        help="serve the controls (/_mock/) beyond loopback and through proxies: every caller can get any token",
    )
    add_flags(parser)
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use 0 to {_MAX_PORT}")
    return int(text)


if __name__ == "__main__":
    main()
