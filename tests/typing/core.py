"""A service without Flask, which uses the core of api.auth. `make lint` checks its types; nothing runs it."""

from typing import assert_type

from api.auth import (
    AccessToken,
    AuthConfig,
    AuthError,
    AuthEvents,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
    bearer_token,
)


class Counted(AuthEvents):
    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        assert_type(reason, Reason)
        assert_type(claim, str | None)


issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=("https://api.example",))
verifier = TokenVerifier(AuthConfig(issuers=(issuer,)), events=Counted(), is_revoked=lambda token: not token.token_id)
requirement = Requirement(scopes=("read:things",), claims={"org": "acme", "level": lambda level: level > 3})


def list_things(authorization: str | None, query: str) -> tuple[int, dict[str, str], str]:
    try:
        token = verifier.authenticate(authorization, requirement, query=query)
    except AuthError as refusal:
        assert_type(refusal.claim, str | None)
        return refusal.status, refusal.headers(realm="api"), refusal.detail
    assert_type(token, AccessToken | None)
    return 200, {}, token.subject if token else "nobody"


assert_type(verifier.verify(bearer_token("Bearer x")), AccessToken)
TokenVerifier(issuer)  # type: ignore[arg-type]
