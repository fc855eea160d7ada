"""A service that uses api.auth of the installed distribution device-api. Tests type-check and import it."""

from typing import assert_type

from flask import Flask

from api.auth import Auth, AuthConfig, AuthError, TokenVerifier, TrustedIssuer, current_token, require_auth


def create_app(issuer: str, audience: str) -> Flask:
    trusted = TrustedIssuer(identifier=issuer, audiences=(audience,))
    app = Flask(__name__)
    Auth(TokenVerifier(AuthConfig(issuers=(trusted,)))).init_app(app)
    app.add_url_rule("/things/<int:number>", view_func=thing)
    return app


@require_auth("read:things")
def thing(number: int) -> dict[str, str | int]:
    return {"number": number, "owner": current_token.subject}


def use_and_misuse(error: AuthError) -> int:
    assert_type(thing(1), dict[str, str | int])
    thing("1")  # type: ignore[arg-type]
    assert_type(current_token.scopes, frozenset[str])
    return error.status
