"""The folder api/auth/, copied beside this file as its README says."""

import os

from auth import Auth, AuthConfig, TokenVerifier, TrustedIssuer, current_token, require_auth
from flask import Flask

app = Flask(__name__)
issuer = TrustedIssuer(identifier=os.environ["ISSUER"], audiences=(os.environ["AUDIENCE"],))
Auth(TokenVerifier(AuthConfig(issuers=(issuer,)))).init_app(app)


@app.get("/")
@require_auth(os.environ["SCOPE"])
def index() -> dict[str, object]:
    """Answer who the token speaks for."""
    return {"sub": current_token.subject}
