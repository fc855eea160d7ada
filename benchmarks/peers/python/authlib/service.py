"""Authlib's ResourceProtector for Flask, with its validator for JWT access tokens (RFC 9068)."""

import json
import os
from typing import Any
from urllib.request import urlopen

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from flask import Flask
from joserfc.jwk import KeySet

app = Flask(__name__)
with urlopen(os.environ["JWKS_URL"]) as response:
    keys = KeySet.import_key_set(json.load(response))


class Validator(JWTBearerTokenValidator):
    """Validates tokens with the keys that were fetched at the start."""

    def get_jwks(self) -> Any:
        """Return the issuer's keys."""
        return keys


require_oauth = ResourceProtector()
require_oauth.register_token_validator(Validator(issuer=os.environ["ISSUER"], resource_server=os.environ["AUDIENCE"]))


@app.get("/")
@require_oauth(os.environ["SCOPE"])
def index() -> dict[str, object]:
    """Answer who the token speaks for."""
    return {"sub": current_token.get("sub")}
