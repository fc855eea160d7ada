"""Every row of proof_rejections.py without HTTP and with a clock of our own: its reason, and the claim at fault."""

from typing import Any

import pytest

from api.auth import (
    AuthConfig,
    AuthError,
    AuthEvents,
    Reason,
    Sender,
    TokenVerifier,
    TrustedIssuer,
    UnverifiedRequest,
)
from api.auth.dpop import DPoP
from api.auth.keys.fetch import Fetched
from tests.api.auth.dpop.proof_rejections import ISSUERS_KEY, ROWS, Row, World
from tests.kit.signing import AUDIENCE, ISSUER, jwks

NOW = 1_800_000_000
PUBLIC_URL = "https://api.example/below"
CLAIMS = {
    Reason.KEY_BOUND: "cnf",
    Reason.NOT_KEY_BOUND: "cnf",
    Reason.KEY_MISMATCH: "cnf",
    Reason.EXPIRED: "exp",
    Reason.PROOF_METHOD: "htm",
    Reason.PROOF_URL: "htu",
    Reason.PROOF_TOKEN: "ath",
}


class Heard(AuthEvents):
    def __init__(self) -> None:
        self.refusals: list[tuple[Reason, str | None]] = []

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.refusals.append((reason, claim))


@pytest.fixture(scope="module")
def verifier() -> TokenVerifier:
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}keys")
    return TokenVerifier(
        AuthConfig(issuers=(issuer,)),
        events=Heard(),
        fetch=lambda _url, _timeout_seconds: Fetched(jwks(ISSUERS_KEY), None),
        now=lambda: NOW,
    )


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in ROWS])
def test_row(row: Row, verifier: TokenVerifier) -> None:
    sent: dict[str, str] = {}
    for name, value in row.send(World(PUBLIC_URL, ISSUER, NOW)):
        sent[name] = f"{sent[name]},{value}" if name in sent else value
    path, _, query = row.path.partition("?")
    request = UnverifiedRequest(row.method, f"{PUBLIC_URL}{path}", sent.get)
    sender = Sender(request=lambda: request, dpop=DPoP(now=lambda: NOW))

    def authenticate() -> Any:
        return verifier.authenticate(sent["Authorization"], query=query, sender=sender)

    if row.reason is None:
        assert authenticate()
        return
    heard = verifier.events
    assert isinstance(heard, Heard)
    heard.refusals.clear()
    with pytest.raises(AuthError) as caught:
        authenticate()
    assert heard.refusals == [(caught.value.reason, caught.value.claim)]
    assert caught.value.reason is row.reason
    assert caught.value.scheme == ("Bearer" if sent["Authorization"].startswith("Bearer") else "DPoP")
    if row.reason in CLAIMS:
        assert caught.value.claim == CLAIMS[row.reason]
    elif row.reason is Reason.PROOF_TIME:
        assert caught.value.claim == row.what.removeprefix("an ").partition(" ")[0].rstrip(":")
    else:
        assert caught.value.claim == ("jti" if row.what.startswith("jti") else None)
