"""Flask-JWT-Extended; it takes one public key, and no address of a key set."""

import json
import os
from urllib.request import urlopen

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, get_jwt_identity, jwt_required

app = Flask(__name__)
with urlopen(os.environ["JWKS_URL"]) as response:
    (key,) = json.load(response)["keys"]
app.config["JWT_ALGORITHM"] = "RS256"
app.config["JWT_PUBLIC_KEY"] = jwt.PyJWK(key).key
app.config["JWT_DECODE_AUDIENCE"] = os.environ["AUDIENCE"]
app.config["JWT_DECODE_ISSUER"] = os.environ["ISSUER"]
JWTManager(app)


@app.get("/")
@jwt_required()
def index() -> dict[str, object]:
    """Answer who the token speaks for."""
    return {"sub": get_jwt_identity()}
