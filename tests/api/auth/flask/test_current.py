"""The request and the application without Flask's proxies."""

import pytest
from flask import Flask, current_app, request

from api.auth.flask.current import current_application, current_request


def test_they_are_those_of_the_proxies() -> None:
    app = Flask(__name__)
    with app.test_request_context("/outer"), app.test_request_context("/inner"):
        assert current_request().path == "/inner"
        assert current_request() == request
        assert current_application() is app
        assert current_application() == current_app


def test_there_is_none_outside_of_a_request() -> None:
    with pytest.raises(RuntimeError, match="outside of request context"):
        current_request()
    with pytest.raises(RuntimeError, match="outside of application context"):
        current_application()
