"""What a client is told of a refusal, and what a log is told: exact answers, without a web framework."""

from dataclasses import dataclass
from typing import Any

import pytest

from api.auth import (
    AuthError,
    InsufficientScope,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingCredentials,
    Reason,
    ReplaysUnavailable,
    TemporarilyUnavailable,
    UseDPoPNonce,
)
from api.auth.reasons import DETAILS
from tests.api.auth.answers import parse_challenge, parse_challenges

METADATA = "https://api.example/.well-known/oauth-protected-resource"


def too_old(max_age: int | None, *acr_values: str) -> AuthError:
    return InsufficientUserAuthentication(Reason.AUTHENTICATION_TOO_OLD, max_age=max_age, acr_values=acr_values)


# An error, its status, its code, and the other parameters of its challenge.
ANSWERS: list[tuple[AuthError, int, str | None, dict[str, str]]] = [
    (MissingCredentials(), 401, None, {}),
    (MissingCredentials(("a", "b")), 401, None, {"scope": "a b"}),
    (MissingCredentials(("a",), Reason.SCHEME_MISSING), 401, None, {"scope": "a"}),
    (InvalidRequest(Reason.HEADER_MALFORMED), 400, "invalid_request", {}),
    (InvalidToken(Reason.EXPIRED, claim="exp"), 401, "invalid_token", {}),
    (InvalidToken(Reason.KEY_UNKNOWN, retry_after_seconds=7), 401, "invalid_token", {}),
    (InsufficientScope(("a", "b")), 403, "insufficient_scope", {"scope": "a b"}),
    (InsufficientScope(("a",), Reason.CLAIM_VALUE, claim="org"), 403, "insufficient_scope", {"scope": "a"}),
    # A parameter without a value would be a list of no scopes, which RFC 6749 §3.3 does not allow.
    (InsufficientScope((), Reason.CLAIM_VALUE, claim="org"), 403, "insufficient_scope", {}),
    (too_old(0), 401, "insufficient_user_authentication", {"max_age": "0"}),
    (too_old(None, "x", "y"), 401, "insufficient_user_authentication", {"acr_values": "x y"}),
    (too_old(60, "x"), 401, "insufficient_user_authentication", {"acr_values": "x", "max_age": "60"}),
]


@pytest.mark.parametrize(("error", "status", "code", "parameters"), ANSWERS, ids=str)
def test_the_answer(error: AuthError, status: int, code: str | None, parameters: dict[str, str]) -> None:
    assert (error.status, error.error) == (status, code)
    if code is not None:
        parameters = {"error": code, "error_description": error.detail, **parameters}
    challenge = error.challenge(realm="an api")
    assert challenge is not None
    assert parse_challenge(challenge) == {"realm": "an api", **parameters}
    challenge = error.challenge(realm="an api", resource_metadata=METADATA)
    assert challenge is not None
    assert parse_challenge(challenge) == {"realm": "an api", **parameters, "resource_metadata": METADATA}


@pytest.mark.parametrize("error", [row[0] for row in ANSWERS], ids=str)
@pytest.mark.parametrize("options", [{}, {"resource_metadata": METADATA}])
def test_the_headers(error: AuthError, options: dict[str, Any]) -> None:
    expected = {"Cache-Control": "no-store", "WWW-Authenticate": error.challenge(realm="r", **options)}
    if error.reason is Reason.KEY_UNKNOWN:
        expected["Retry-After"] = "7"
    assert error.headers(realm="r", **options) == expected


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeysUnavailable(7), Reason.KEYS_UNAVAILABLE),
        (IntrospectionUnavailable(7), Reason.INTROSPECTION_UNAVAILABLE),
    ],
)
def test_without_the_issuer_the_answer_has_no_challenge(error: TemporarilyUnavailable, reason: Reason) -> None:
    assert (error.status, error.error, error.reason) == (503, "temporarily_unavailable", reason)
    assert error.challenge(realm="r", resource_metadata=METADATA) is None
    assert error.headers(realm="r", resource_metadata=METADATA) == {"Cache-Control": "no-store", "Retry-After": "7"}


@dataclass
class Proofs:
    """Stands for the folder `dpop`, which a copy may lack."""

    required: bool = False
    algorithms: tuple[str, ...] = ("ES256", "EdDSA")
    given: str | None = None

    def nonce(self) -> str | None:
        return self.given


REALM, ALGS = {"realm": "r"}, {"algs": "ES256 EdDSA"}


def challenges(error: AuthError, dpop: Proofs) -> list[tuple[str, dict[str, str]]]:
    challenge = error.challenge(realm="r", dpop=dpop)
    assert challenge is not None
    return parse_challenges(challenge)


def by_dpop(error: AuthError) -> AuthError:
    error.scheme = "DPoP"
    return error


def code(error: AuthError) -> dict[str, str]:
    return {"error": str(error.error), "error_description": error.detail}


def test_with_dpop_a_401_names_both_schemes_that_of_the_request_first() -> None:
    expired = InvalidToken(Reason.EXPIRED)
    assert challenges(expired, Proofs()) == [("Bearer", {**REALM, **code(expired)}), ("DPoP", {**REALM, **ALGS})]
    by_dpop(expired)
    assert challenges(expired, Proofs()) == [("DPoP", {**REALM, **code(expired), **ALGS}), ("Bearer", REALM)]
    missing = MissingCredentials(("a",))
    scope = {"scope": "a"}
    assert challenges(missing, Proofs()) == [("Bearer", {**REALM, **scope}), ("DPoP", {**REALM, **scope, **ALGS})]


def test_with_dpop_alone_no_other_scheme_is_named() -> None:
    for error, dpop in ((InvalidToken(Reason.EXPIRED), Proofs(required=True)), (InvalidToken(Reason.SCOPE), Proofs())):
        error.takes_bearer = dpop.required
        assert challenges(error, dpop) == [("DPoP", {**REALM, **code(error), **ALGS})]


@pytest.mark.parametrize("error", [InvalidRequest(Reason.DPOP_HEADER_MALFORMED), InsufficientScope(())])
def test_what_another_scheme_would_not_help_names_one(error: AuthError) -> None:
    assert challenges(by_dpop(error), Proofs()) == [("DPoP", {**REALM, **code(error), **ALGS})]


def test_a_nonce_comes_with_each_401() -> None:
    dpop = Proofs(given="n")
    assert UseDPoPNonce().headers(realm="r", dpop=dpop)["DPoP-Nonce"] == "n"
    assert MissingCredentials().headers(realm="r", dpop=dpop)["DPoP-Nonce"] == "n"
    for error in (InsufficientScope(()), InvalidRequest(Reason.HEADER_MALFORMED), ReplaysUnavailable(3)):
        assert "DPoP-Nonce" not in error.headers(realm="r", dpop=dpop)
    assert "DPoP-Nonce" not in UseDPoPNonce().headers(realm="r", dpop=Proofs())


@pytest.mark.parametrize("error", [KeysUnavailable(7), ReplaysUnavailable(7)])
def test_what_cannot_be_judged_has_no_challenge_for_dpop_either(error: AuthError) -> None:
    assert error.headers(realm="r", dpop=Proofs(given="n")) == {"Cache-Control": "no-store", "Retry-After": "7"}


def test_an_error_without_a_code_tells_none() -> None:
    class Refused(AuthError):
        status = 401
        error = None

    assert Refused(Reason.EXPIRED).challenge(realm="r") == 'Bearer realm="r"'


def test_the_reasons_of_errors_that_have_one() -> None:
    assert MissingCredentials().reason is Reason.NO_CREDENTIALS
    assert InsufficientScope(("a",)).reason is Reason.SCOPE
    assert too_old(5).reason is Reason.AUTHENTICATION_TOO_OLD


def test_a_client_is_told_the_sentence_of_the_reason() -> None:
    assert {reason: AuthError(reason).detail for reason in Reason} == DETAILS


def test_a_log_is_told_the_reason_and_the_claim() -> None:
    assert str(InvalidToken(Reason.EXPIRED)) == "expired"
    assert str(InvalidToken(Reason.CLAIM_MISSING, claim="sub")) == "claim_missing: sub"
    assert InvalidToken(Reason.EXPIRED).claim is None
    assert InvalidToken(Reason.CLAIM_MISSING, claim="sub").claim == "sub"
    assert InsufficientScope((), Reason.CLAIM_VALUE, claim="org").claim == "org"
    weak = InsufficientUserAuthentication(
        Reason.AUTHENTICATION_TOO_WEAK, max_age=None, acr_values=("mfa",), claim="acr"
    )
    assert (weak.reason, weak.claim, weak.max_age, weak.acr_values) == (
        Reason.AUTHENTICATION_TOO_WEAK,
        "acr",
        None,
        ("mfa",),
    )


def test_the_required_scopes_can_be_read() -> None:
    assert MissingCredentials().required == ()
    assert MissingCredentials(("a",)).required == InsufficientScope(("a",)).required == ("a",)


@pytest.mark.parametrize(("error", "status", "code", "parameters"), ANSWERS)
def test_the_body_has_the_code_unless_there_is_none_the_sentence_and_the_missing_scope(
    error: AuthError, status: int, code: str | None, parameters: dict[str, str]
) -> None:
    expected = {"error_description": error.detail} | ({} if code is None else {"error": code})
    if status == 403 and "scope" in parameters:
        expected["scope"] = parameters["scope"]
    assert error.body() == expected
