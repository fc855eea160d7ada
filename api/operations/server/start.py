"""The event `server_started`: where the API can be reached, and what it uses."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from sqlalchemy.engine import make_url

from api.auth import __version__
from api.settings import Settings

# Addresses of all interfaces, and those where a program on this machine reaches them.
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # listens nowhere

_log = structlog.stdlib.get_logger()


def log_start(settings: Settings, addresses: Sequence[str], workers: int) -> None:
    """Log that the server listens at `addresses`, which are URLs, or `unix:` and a path.

    Of the database and Redis, only the kind: their URLs have passwords and paths.
    """
    _log.info(
        "server_started",
        addresses=list(addresses),
        docs=_docs_url(settings, addresses),
        version=__version__,
        workers=workers,
        issuers=[issuer.identifier for issuer in settings.auth.issuers],
        database=make_url(settings.database_url).get_backend_name(),
        redis=settings.redis_url is not None,
    )


def _docs_url(settings: Settings, addresses: Sequence[str]) -> str | None:
    """Return the address of /docs for a browser; None if nothing but a Unix socket is known."""
    if settings.public_url:
        return f"{settings.public_url.rstrip('/')}/docs"
    for address in addresses:
        parts = urlsplit(address)
        if parts.hostname:
            host = _LOOPBACK_OF.get(parts.hostname)
            return f"{parts.scheme}://{host}:{parts.port}/docs" if host else f"{address}/docs"
    return None
