"""`python -m mock_issuer` and `mock-issuer`: an issuer as a process."""

import argparse
import logging
import signal
import sys

from mock_issuer.config import ConfigError
from mock_issuer.hostile import check
from mock_issuer.options import add_flags, read_config
from mock_issuer.server import Server

_HIGHEST_PORT = 65_535
_ENDING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve until SIGTERM or SIGINT, then exit with status 0.

    A port that cannot be had is told in a sentence and exits with status 1, wrong options with 2. With `check` as the
    first argument, try an API with hostile requests in place of that, and exit as that does.
    """
    if sys.argv[1:2] == ["check"]:
        sys.exit(check.main(sys.argv[2:]))
    options = _parse()
    # `python -m` finds a rule's module in the current directory; the installed script does so only with this.
    sys.path.insert(0, "")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Blocked before any thread starts, and waited for below: a handler that sets an event can meet its own lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
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
        # The socket module appends the address, which the sentence has already.
        reason = str(exc.strerror).partition(" (")[0]
        sys.exit(f"mock-issuer cannot listen on {options.host}, port {options.port}: {reason}.")
    except ConfigError as exc:
        for mistake in exc.mistakes:
            print(f"mock-issuer: {mistake}", file=sys.stderr)  # noqa: T201  # a command line talks
        sys.exit(2)
    with server:
        named = "" if server.config.issuer == server.url else f" as {server.config.issuer}"
        print(f"Mock issuer listening on {server.url}{named}", flush=True)  # noqa: T201  # a command line talks
        if server.ca_file is not None:
            print(f"Its CA is in {server.ca_file}", flush=True)  # noqa: T201  # a command line talks
        signal.sigwait(_ENDING)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-issuer",
        description="An OAuth 2.0 issuer with the device flow, for tests. Not for production.",
        epilog="mock-issuer check URL tries an API with hostile tokens; mock-issuer check --help says more.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=9000, help="port to listen on, 0 for any (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="serve https with a certificate made on the spot")
    parser.add_argument(
        "--allow-control",
        action="store_true",
        default=None,
        help="answer under /_mock/ although not listening on loopback: whoever reaches it can have any token",
    )
    add_flags(parser)
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


if __name__ == "__main__":
    main()
