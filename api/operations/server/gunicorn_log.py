"""gunicorn's logger class: its messages as lines of JSON, like those of the API."""

import traceback
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]  # likewise

from api.operations.log.configuration import LineHandler, log_libraries
from api.operations.log.lines import ServerFormatter
from api.operations.log.writer import write_directly


class _GunicornFormatter(ServerFormatter):
    def traceback_of(self, error: BaseException) -> str:
        """Return the traceback, without the text of an error that quotes the request: that may contain a token."""
        if any(isinstance(one, ParseException) for one in _chain(error)):
            return "".join([*traceback.format_tb(error.__traceback__), type(error).__name__])
        return super().traceback_of(error)


class GunicornLogger(Logger):  # type: ignore[misc]  # likewise
    """Writes gunicorn's messages to standard error as the API's lines, or to `--error-logfile` in the same form.

    gunicorn makes one in the arbiter, and the workers inherit it.
    """

    def setup(self, cfg: Any) -> None:
        """Set the handlers up again, at the start and when the configuration is loaded again."""
        super().setup(cfg)
        write_directly()
        log_libraries()
        for handler in list(self.error_log.handlers):
            if cfg.errorlog == "-":
                self.error_log.removeHandler(handler)
            handler.setFormatter(_GunicornFormatter())
        if cfg.errorlog == "-":
            handler = LineHandler()
            handler.setFormatter(_GunicornFormatter())
            # By this mark, gunicorn removes it when it loads the configuration again.
            handler._gunicorn = True  # type: ignore[attr-defined]  # noqa: SLF001
            self.error_log.addHandler(handler)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
