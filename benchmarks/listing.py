"""The list route in process, compared with its parts: the SELECT, Flask, and verifying the token."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.connections import Database
from api.database.engine import open_database, write_transaction
from api.database.schema import upgrade
from api.devices.models import Owner
from api.devices.storage import queries
from api.devices.storage.store import new_device_id
from api.devices.storage.tables import devices
from api.settings import Settings
from tests.kit.key_server import KeyServer

from .request import application, timed_request
from .tokens import AUDIENCE, ISSUER, Sample, claims

SELECT = "the SELECT of 20 devices"
FLASK = "Flask alone"
VERIFICATION = "verifying a token in the cache"
PARTS = "these three, one after another"
ROUTE = "GET /v1/devices with 20 devices"

_DEVICES = 20


@contextlib.contextmanager
def contenders(sample: Sample, directory: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield the route and its parts, on a SQLite database in `directory`; the route's log is discarded."""
    url = f"sqlite:///{directory}/listing.db"
    owner = Owner(ISSUER, str(claims()["sub"]))
    upgrade(url)
    database = open_database(url)
    _fill(database, owner)
    verifier = sample.verifier(token_cache_size=100)
    query = queries.devices_page(owner, kind=None, status=None, after=None, limit=_DEVICES)

    def select() -> object:
        with database.connect() as connection:
            return query.fetch_all(connection)

    with KeyServer() as server, Path(os.devnull).open("w", encoding="utf-8") as null:
        server.publish(sample.key_set)
        issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=server.jwks_url)
        app = create_app(Settings(auth=AuthConfig(issuers=(issuer,)), database_url=url))
        flask = timed_request(application(sample, 100), "/open", f"Bearer {sample.token}")
        with contextlib.redirect_stderr(null):
            route = timed_request(app, "/v1/devices", f"Bearer {sample.token}")
            parts: list[Callable[[], object]] = [select, flask, lambda: verifier.verify(sample.token)]
            yield {
                **dict(zip((SELECT, FLASK, VERIFICATION), parts, strict=True)),
                PARTS: lambda: [part() for part in parts],
                ROUTE: route,
            }
        app.extensions["device_store"].close()
    database.close()


def _fill(database: Database, owner: Owner) -> None:
    now = datetime.now(UTC)
    with write_transaction(database) as connection:
        connection.execute(
            insert(devices),
            [
                {
                    "id": new_device_id(),
                    "issuer": owner.issuer,
                    "subject": owner.subject,
                    "name": f"Thermostat {number}",
                    "kind": "thermostat",
                    "model": "Warmly T3",
                    "location": "Living room",
                    "status": "online",
                    "created_at": now + timedelta(minutes=number),
                    "last_seen_at": now,
                }
                for number in range(_DEVICES)
            ],
        )
