"""joserfc in Flask: the library verifies tokens; reading the header and answering is this file's."""

import json
import os
from urllib.request import urlopen

from flask import Flask, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

app = Flask(__name__)
with urlopen(os.environ["JWKS_URL"]) as response:
    keys = KeySet.import_key_set(json.load(response))
claims_registry = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": os.environ["ISSUER"]},
    aud={"essential": True, "value": os.environ["AUDIENCE"]},
    exp={"essential": True},
)


def _refused(challenge: str) -> Response:
    return Response(status=401, headers={"WWW-Authenticate": challenge})


@app.get("/")
def index() -> Response | dict[str, object]:
    """Answer who the token speaks for."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    value = value.lstrip(" ")
    if scheme.lower() != "bearer" or not value:
        return _refused("Bearer")
    try:
        token = jwt.decode(value, keys, algorithms=["RS256"])
        claims_registry.validate(token.claims)
    except (JoseError, ValueError):
        return _refused('Bearer error="invalid_token"')
    return {"sub": token.claims.get("sub")}
