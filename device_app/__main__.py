"""The entry point: `python -m device_app`, and the command `device`."""

import sys

__all__ = ["main"]

# Shells report a process ended by a signal as 128 plus the signal's number; SIGINT is 2.
_INTERRUPTED = 130


def main() -> None:
    """Import and run the command line; Ctrl-C during the imports exits without a traceback."""
    try:
        from device_app.cli import main as run  # noqa: PLC0415  # takes a moment, in which Ctrl-C must work

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
