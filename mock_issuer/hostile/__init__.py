"""Credentials to try an API with, each with the answers that the RFCs call for and why."""

from mock_issuer.hostile.claims import claim_requests
from mock_issuer.hostile.forge import Forge, Signer
from mock_issuer.hostile.headers import header_requests
from mock_issuer.hostile.request import ACCEPTED, HostileRequest, as_json, bearer, from_json
from mock_issuer.hostile.signatures import token_requests

__all__ = ["GOOD_TOKEN", "HostileRequest", "Signer", "as_json", "from_json", "hostile_requests"]

# The name of the plain request: an API that refuses this one is set up for another issuer, audience or scope.
GOOD_TOKEN = "good-token"  # noqa: S105  # a name


def hostile_requests(signer: Signer, *, issuer: str, audience: str, scope: str, now: int) -> tuple[HostileRequest, ...]:
    """Return requests to try an API with that accepts RS256 alone; the first is the plain good one.

    Args:
        signer: the issuer's keys; the tokens are signed here and now.
        issuer: its identifier, as the API is told it.
        audience: the API's identifier.
        scope: what the tried route needs, words with single spaces; empty where any valid token will do, and then
            there are no requests about scopes.
        now: the time as a NumericDate. Good tokens live for an hour from then.
    """
    forge = Forge(signer=signer, issuer=issuer, audience=audience, scope=scope, now=now)
    good = bearer(GOOD_TOKEN, ACCEPTED, "A good access token, RFC 9068 §2.", forge.token())
    return (good, *header_requests(forge), *token_requests(forge), *claim_requests(forge))
