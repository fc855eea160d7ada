"""PyJWT with its PyJWKClient, in Flask: the library verifies tokens; the header and the answers are this file's."""

import os

import jwt
from flask import Flask, Response, request

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
app = Flask(__name__)
jwks_client = jwt.PyJWKClient(os.environ["JWKS_URL"])


def _refused(challenge: str) -> Response:
    return Response(status=401, headers={"WWW-Authenticate": challenge})


@app.get("/")
def index() -> Response | dict[str, object]:
    """Answer who the token speaks for."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.lstrip(" ")
    if scheme.lower() != "bearer" or not token:
        return _refused("Bearer")
    try:
        signing_key = jwks_client.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, signing_key, audience=AUDIENCE, issuer=ISSUER, algorithms=["RS256"])
    except jwt.PyJWTError:
        return _refused('Bearer error="invalid_token"')
    return {"sub": claims.get("sub")}
