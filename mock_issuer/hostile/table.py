"""The table of hostile requests: all rows, for one issuer, API and scope."""

from mock_issuer.hostile.claims import claim_requests
from mock_issuer.hostile.headers import header_requests
from mock_issuer.hostile.request import ACCEPTED, GOOD_TOKEN, HostileRequest, bearer
from mock_issuer.hostile.signatures import signature_requests
from mock_issuer.hostile.tokens import IssuerKeys, TokenFactory


def hostile_requests(
    keys: IssuerKeys, *, issuer: str, audience: str, scope: str, now: int
) -> tuple[HostileRequest, ...]:
    """Return the requests for testing an API that accepts RS256 only; the first one has a valid token.

    Args:
        keys: the issuer's keys, which the API trusts.
        issuer: the issuer identifier.
        audience: the API's identifier.
        scope: the scopes that the tested route requires, space-separated. Empty if it accepts any valid token; the
            requests about scopes are then left out.
        now: a NumericDate. Valid tokens expire one hour later.
    """
    tokens = TokenFactory(keys=keys, issuer=issuer, audience=audience, scope=scope, now=now)
    good = bearer(GOOD_TOKEN, ACCEPTED, "A valid access token, RFC 9068 §2.", tokens.token())
    return (good, *header_requests(tokens), *signature_requests(tokens), *claim_requests(tokens))
