"""The application factory."""

from functools import cache
from urllib.parse import urlsplit

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from api.auth import Auth, TokenVerifier
from api.auth.dpop import DPoP
from api.database.engine import open_database
from api.database.write_probe import WriteProbe
from api.devices.routes import devices
from api.devices.storage.store import DeviceStore
from api.docs.routes import documents
from api.me import me
from api.operations import request_record
from api.operations.auth_events import RecordedAuthEvents
from api.operations.database_events import RecordedDatabaseEvents
from api.operations.health import health
from api.operations.log.configuration import configure_logging
from api.operations.metrics.routes import metrics
from api.problems import responses as problems
from api.problems.pages import problem_pages
from api.settings import DPoPSettings, Settings, load_settings
from api.shared.rate_limits import RateLimitedAuth, RateLimits
from api.shared.redis import SharedRedis
from api.shared.replays import SharedReplays
from api.shared.revocations import SharedRevocations
from api.web import cors

# Ten times the size of a full batch of readings.
_MAX_BODY_BYTES = 1024 * 1024


class _NoSessions(SessionInterface):
    """Gives every request the same empty session, which raises if a view writes to it."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002  # Flask's signature
        """Return the session."""
        return self._session


class _Api(Flask):
    """Flask, without sessions, which remembers of each view and hook whether it is async."""

    # By default Flask looks for a cookie's session in each request: 4 % of GET /v1/me.
    session_interface = _NoSessions()

    def __init__(self) -> None:
        super().__init__("api.app", static_folder=None)
        # Flask looks at the code of each at every call, six times per request: this saves 5 % of GET /v1/me.
        self.ensure_sync = cache(self.ensure_sync)  # type: ignore[method-assign]


def create_app(settings: Settings | None = None) -> Flask:
    """Return the API as a WSGI application, set up by `settings` or else by the environment.

    Raises SettingsError. Connects to no database, issuer or Redis yet; /readyz checks them.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level)
    app = _Api()
    # With merge_slashes, Werkzeug answers //v1//devices with an HTML redirect instead of a 404.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # mypy: the default provider has it; keeps members in the contract's order

    database = open_database(settings.database_url, events=RecordedDatabaseEvents())
    store = DeviceStore(database, sample_data=settings.sample_data)
    redis = SharedRedis(settings.redis_url) if settings.redis_url else None
    revocations = SharedRevocations(redis) if redis else None
    is_revoked = revocations.is_revoked if revocations else None
    if settings.tracing:
        # Here, so that nothing of OpenTelemetry is imported otherwise.
        from api.operations.tracing import Tracing  # noqa: PLC0415

        tracing = Tracing()
        tracing.add_ids_to_log()
        tracing.init_app(app, database.engine)
        verifier = tracing.verifier(settings.auth, is_revoked, settings.introspection)
    else:
        verifier = TokenVerifier(
            settings.auth,
            events=RecordedAuthEvents(),
            is_revoked=is_revoked,
            introspection=settings.introspection,
        )
    auth = _auth(verifier, settings, redis)
    app.extensions.update(
        database=database, device_store=store, token_verifier=verifier, auth=auth, revocations=revocations
    )
    app.extensions["database_write_probe"] = WriteProbe(database)
    # A proxy may serve the API below a path, which only the public URL contains.
    app.extensions["public_path"] = urlsplit(settings.public_url or "").path.rstrip("/")

    request_record.init_app(app)
    auth.init_app(app)
    problems.init_app(app, auth, public_url=settings.public_url)
    if settings.cors_origins:
        cors.init_app(app, settings.cors_origins)
    for blueprint in (health, metrics, documents, problem_pages, me, devices):
        app.register_blueprint(blueprint)
    return app


def _auth(verifier: TokenVerifier, settings: Settings, redis: SharedRedis | None) -> Auth:
    realm, resource_url = "device-api", settings.public_url
    dpop = _dpop(settings.dpop, redis) if settings.dpop else None
    if settings.rate_limit is None:
        return Auth(verifier, realm=realm, resource_url=resource_url, metadata=True, dpop=dpop, mtls=settings.mtls)
    limits = RateLimits(settings.rate_limit, redis)
    return RateLimitedAuth(
        verifier, limits, realm=realm, resource_url=resource_url, metadata=True, dpop=dpop, mtls=settings.mtls
    )


def _dpop(settings: DPoPSettings, redis: SharedRedis | None) -> DPoP:
    return DPoP(
        required=settings.required,
        algorithms=settings.algorithms,
        window_seconds=settings.window_seconds,
        nonce_secret=settings.nonce_secret,
        replays=SharedReplays(redis) if redis else None,
    )
