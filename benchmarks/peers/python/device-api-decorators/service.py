"""The folder api/auth/, copied beside this file as its README says; with DPOP=true as its section about DPoP says."""

import os

from auth import Auth, AuthConfig, TokenVerifier, TrustedIssuer, current_token, require_auth
from auth.dpop import DPoP
from flask import Flask

app = Flask(__name__)
issuer = TrustedIssuer(identifier=os.environ["ISSUER"], audiences=(os.environ["AUDIENCE"],))
verifier = TokenVerifier(AuthConfig(issuers=(issuer,)))
options = {"dpop": DPoP(), "resource_url": os.environ["URL"]} if os.environ["DPOP"] == "true" else {}
Auth(verifier, **options).init_app(app)


@app.get("/")
@require_auth(os.environ["SCOPE"])
def index() -> dict[str, object]:
    """Answer who the token speaks for."""
    return {"sub": current_token.subject}
