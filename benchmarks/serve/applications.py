"""The small services of the comparison: one route, unprotected and protected by our decorator and by peers.

Each is a factory for gunicorn and granian; BENCH_ISSUER and BENCH_JWKS_URL name the issuer of the tokens.
"""

import os
from functools import wraps
from typing import Any

import jwt
import requests
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from flask import Flask, request
from flask.typing import ResponseReturnValue
from joserfc.jwk import KeySet

from api.auth import Auth, AuthConfig, TokenVerifier, TrustedIssuer, require_auth
from benchmarks.tokens import AUDIENCE


def plain() -> Flask:
    """Return the floor: Flask, without protection."""
    app = Flask(__name__)

    @app.get("/")
    def show() -> str:
        return "ok"

    return app


def decorated() -> Flask:
    """Return the floor with the decorator of `api/auth/`, as a service that copied the folder has it."""
    app = Flask(__name__)
    issuer = TrustedIssuer(
        identifier=os.environ["BENCH_ISSUER"], audiences=(AUDIENCE,), jwks_url=os.environ["BENCH_JWKS_URL"]
    )
    Auth(TokenVerifier(AuthConfig(issuers=(issuer,)))).init_app(app)

    @app.get("/")
    @require_auth("read:devices")
    def show() -> str:
        return "ok"

    return app


def pyjwt() -> Flask:
    """Return the floor with the verification that PyJWT's documentation shows, and the check of a scope."""
    app = Flask(__name__)
    issuer = os.environ["BENCH_ISSUER"]
    client = jwt.PyJWKClient(os.environ["BENCH_JWKS_URL"])

    def protected(view: Any) -> Any:
        @wraps(view)
        def checked() -> ResponseReturnValue:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return "unauthorized", 401
            try:
                key = client.get_signing_key_from_jwt(token)
                claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer)
            except jwt.PyJWTError:
                return "unauthorized", 401
            if "read:devices" not in claims["scope"].split():
                return "forbidden", 403
            return view()  # type: ignore[no-any-return]

        return checked

    @app.get("/")
    @protected
    def show() -> str:
        return "ok"

    return app


def authlib() -> Flask:
    """Return the floor with Authlib's ResourceProtector and its validator for RFC 9068."""
    app = Flask(__name__)
    keys = KeySet.import_key_set(requests.get(os.environ["BENCH_JWKS_URL"], timeout=5).json())

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self) -> Any:
            return keys

    protector = ResourceProtector()
    protector.register_token_validator(Validator(os.environ["BENCH_ISSUER"], AUDIENCE))

    @app.get("/")
    @protector("read:devices")  # type: ignore[untyped-decorator]  # the stubs do not type the decorator
    def show() -> str:
        return "ok"

    return app
