"""The full application: the OAuth endpoints with pages, playground and controls."""

import time
from collections.abc import Callable

from flask import Flask
from flask.typing import ResponseReturnValue

from mock_issuer.authorization import routes
from mock_issuer.config import Config
from mock_issuer.control import http
from mock_issuer.oauth.app import create_oauth_app
from mock_issuer.pages import account, activation, layout, logs
from mock_issuer.playground import page


def create_app(
    config: Config | None = None, *, clock: Callable[[], float] = time.time, allow_control: bool | None = False
) -> Flask:
    """Return an application with a state and a signing key of its own.

    Args:
        config: the default configuration if None.
        clock: returns seconds since the epoch; every lifetime and interval uses it.
        allow_control: whether `/_mock/` answers, which gives any token to every caller. With None, it answers requests
            whose Host is loopback and that came through no proxy.
    """
    app = create_oauth_app(config, clock=clock)
    layout.init_app(app)
    app.config[http.ALLOWED] = allow_control
    for module in (account, activation, routes, logs, page, http):
        app.register_blueprint(module.blueprint)
    app.add_url_rule("/readyz", view_func=_readyz)
    return app


def _readyz() -> ResponseReturnValue:
    # Keys and configuration exist before the server listens, and nothing else is needed.
    return {"status": "ok"}
