"""The composition root: the one module that knows all the others."""

from flask import Flask

from . import problems, telemetry
from .auth import Auth, TokenVerifier
from .devices.routes import devices
from .devices.store import DeviceStore, open_engine
from .health import health
from .me import me
from .metrics import metrics
from .settings import Settings, load_settings
from .well_known import well_known

# No route takes a body yet larger than a batch of readings will be.
_MAX_BODY_BYTES = 1024 * 1024


def create_app(settings: Settings | None = None) -> Flask:
    """Return the API as a WSGI application; without `settings`, as the environment says.

    Raises SettingsError. Opens the database and creates missing tables; asks the issuers nothing yet.
    """
    settings = settings or load_settings()
    telemetry.configure_logging(settings.log_level)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider; members in the contract's order

    store = DeviceStore(open_engine(settings.database_url), sample_data=settings.sample_data)
    store.create_tables()
    verifier = TokenVerifier(settings.auth, events=telemetry.RecordedAuthEvents())
    auth = Auth(verifier, realm="device-api", resource_url=settings.public_url)
    app.extensions.update(device_store=store, token_verifier=verifier, auth=auth)

    telemetry.init_app(app)
    auth.init_app(app)
    problems.init_app(app, auth)
    for blueprint in (health, metrics, well_known, me, devices):
        app.register_blueprint(blueprint)
    return app
