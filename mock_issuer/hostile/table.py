"""The table of hostile requests: all rows, for one issuer, API and scope."""

from dataclasses import replace

from mock_issuer.config import Dialect
from mock_issuer.hostile.claims import claim_requests
from mock_issuer.hostile.headers import header_requests
from mock_issuer.hostile.proofs import ProofFactory, proof_requests
from mock_issuer.hostile.request import (
    ACCEPTED,
    ACCEPTED_OR_INVALID_TOKEN,
    GOOD_TOKEN,
    INVALID_TOKEN,
    UNREADABLE_SCOPE,
    Answers,
    HostileRequest,
    bearer,
)
from mock_issuer.hostile.signatures import signature_requests
from mock_issuer.hostile.tokens import IssuerKeys, TokenFactory


def hostile_requests(
    keys: IssuerKeys,
    *,
    issuer: str,
    audience: str,
    scope: str,
    now: int,
    dialect: Dialect = "rfc9068",
    dpop_url: str = "",
    dpop_nonce: str = "",
) -> tuple[HostileRequest, ...]:
    """Return the requests for testing an API that accepts RS256 only; the first one has a valid token.

    Args:
        keys: the issuer's keys, which the API trusts.
        issuer: the issuer identifier.
        audience: the API's identifier; for Cognito, the id of an app client whose tokens it accepts.
        scope: the scopes that the tested route requires, space-separated. Empty if it accepts any valid token; the
            requests about scopes are then left out.
        now: a NumericDate. Valid tokens expire one hour later.
        dialect: the form of the tokens, which the API accepts.
        dpop_url: the tested URL, for an API that accepts tokens bound to a key too; empty for no requests with DPoP
            proofs. These are valid for a short time from `now` on, and once.
        dpop_nonce: the API's nonce for proofs; empty for none.
    """
    tokens = TokenFactory(keys=keys, issuer=issuer, audience=audience, scope=scope, now=now, dialect=dialect)
    good = bearer(GOOD_TOKEN, ACCEPTED, "A valid access token, RFC 9068 §2.", tokens.token())
    rows = (good, *header_requests(tokens), *signature_requests(tokens), *claim_requests(tokens))
    if dpop_url:
        rows = (*rows, *proof_requests(ProofFactory(tokens=tokens, url=dpop_url, nonce=dpop_nonce)))
    if dialect == "rfc9068":
        return rows
    other = "An ID token of this vendor lacks what its access tokens have, RFC 8725 §3.12."
    id_token = bearer("id-token-of-the-vendor", INVALID_TOKEN, other, tokens.id_token(audience=audience))
    different = _different_answers(tokens)
    adjusted = (
        replace(row, answers=different[row.name][0], why=different[row.name][1]) if row.name in different else row
        for row in rows
    )
    return (*adjusted, id_token)


def _different_answers(tokens: TokenFactory) -> dict[str, tuple[Answers, str]]:
    """Return the rows whose answers depend on the vendor's form of tokens: the answers, and the reason."""
    missing = "A token of this vendor has scopes: without them it is invalid, or grants nothing, RFC 6750 §3.1."
    rows = {"scope-missing": (UNREADABLE_SCOPE, missing)}
    if next(iter(tokens.form.scope_claims.values())) is list:
        listed = "The scopes are a list of strings, as this vendor has them, unlike RFC 8693 §4.2."
        rows["scope-list"] = (ACCEPTED, listed)
    if tokens.form.access_type != "at+jwt":
        typed = "This vendor's tokens have no typ of their own; an API may accept at+jwt as well, RFC 9068 §4."
        rows["typ-with-application"] = (ACCEPTED_OR_INVALID_TOKEN, typed)
    if not tokens.form.names_audience:
        client = "This vendor's tokens name a client, which is no list, unlike aud in RFC 7519 §4.1.3."
        rows |= dict.fromkeys(("aud-list-of-one", "aud-list-own-last"), (ACCEPTED_OR_INVALID_TOKEN, client))
    return rows
