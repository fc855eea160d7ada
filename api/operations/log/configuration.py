"""What is logged, and where it comes from: our own events, messages of libraries, and Python's warnings."""

import logging

import structlog
from structlog.typing import EventDict

from .lines import RecordFormatter, current_request, json_line
from .writer import write_line

# Libraries log what they do at lower levels, with URLs and SQL.
_LIBRARY_LEVEL = logging.WARNING


class LineHandler(logging.Handler):
    """Gives the records of `logging` to the writer."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line."""
        write_line(f"{self.format(record)}\n")


class _LineLogger:
    """What structlog gives its rendered lines to."""

    def msg(self, line: str) -> None:
        write_line(line)

    debug = info = warning = error = critical = msg


def configure_logging(level: int) -> None:
    """Log events of at least `level` (a number of the logging module), and warnings and errors of libraries."""
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _LineLogger(),
        cache_logger_on_first_use=False,
    )
    log_libraries(level)


def log_libraries(level: int = _LIBRARY_LEVEL) -> None:
    """Log the messages of libraries, at `level` but at least warnings, and Python's warnings. May be repeated."""
    root = logging.getLogger()
    handler = next((one for one in root.handlers if isinstance(one, LineHandler)), None)
    if handler is None:
        handler = LineHandler()
        handler.setFormatter(RecordFormatter())
        root.addHandler(handler)
    handler.setLevel(max(level, _LIBRARY_LEVEL))
    logging.captureWarnings(capture=True)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def _render(logger: object, level: str, event: EventDict) -> str:
    """Return an event of structlog as a line, with the id of the current request."""
    # One processor instead of structlog's own in a chain: each would copy or search the event.
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    name = event.pop("event")
    return json_line(name, level, {**event, **current_request()})
