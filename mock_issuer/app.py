"""The composition root: the OAuth endpoints with pages, playground and controls around them."""

import time
from collections.abc import Callable

from flask import Flask

from mock_issuer.config import Config
from mock_issuer.control import http
from mock_issuer.oauth.app import create_oauth_app
from mock_issuer.pages import account, activation, layout, logs
from mock_issuer.playground import page


def create_app(
    config: Config | None = None, *, clock: Callable[[], float] = time.time, allow_control: bool | None = False
) -> Flask:
    """Make an issuer with a state and a signing key of its own.

    Args:
        config: what it serves; the default one where left out.
        clock: seconds since the epoch. Every lifetime and interval goes by it.
        allow_control: whether `/_mock/` answers; whoever reaches it can have any token. None: only to requests whose
            Host is loopback or the issuer's own.
    """
    app = create_oauth_app(config, clock=clock)
    layout.init_app(app)
    app.config[http.ALLOWED] = allow_control
    for module in (account, activation, logs, page, http):
        app.register_blueprint(module.blueprint)
    return app
