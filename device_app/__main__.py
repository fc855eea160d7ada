"""Start the program: as `python -m device_app`, and as the command `device`."""

import sys

__all__ = ["main"]

# Shells count 128 and the signal's number; SIGINT is 2.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C while the program is still loading ends it too."""
    try:
        from device_app.cli import main as run  # noqa: PLC0415  # the loading is what takes a moment

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
