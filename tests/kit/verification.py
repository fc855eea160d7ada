"""Verify a mock issuer's access tokens with `api.auth`, as an API does."""

import requests

from api.auth import AccessToken, AuthConfig, Requirement, TokenVerifier, TrustedIssuer
from api.auth.keys.fetch import Fetched
from mock_issuer import Server

AUDIENCE = "https://device-api.example"


def verified(issuer: Server, unverified_token: str) -> AccessToken:
    """Return the token, verified for the default API and the scope `read:devices`."""

    def fetch(url: str, timeout_seconds: float) -> Fetched:
        # Not the default function: that one reads the trusted CAs once per process, and each issuer has its own.
        answer = requests.get(url, timeout=timeout_seconds, verify=str(issuer.ca_file) if issuer.ca_file else True)
        return Fetched(answer.content, None)

    trusted = TrustedIssuer(identifier=issuer.config.issuer, audiences=(AUDIENCE,))
    verifier = TokenVerifier(AuthConfig(issuers=(trusted,)), fetch=fetch)
    return verifier.verify(unverified_token, Requirement(scopes=("read:devices",)))
