"""What is made of an issuer's answer (RFC 7662 §2.2)."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth import AccessToken, InsufficientScope, Reason, Requirement, TokenVerifier, TrustedIssuer
from api.auth.introspection.answer import Answer, Refusal, read_answer
from tests.api.auth.introspection.issuer import NOW, OPAQUE, Clock, Issuer, Make, Recorded, described, refused
from tests.kit.signing import AUDIENCE

ISSUER = TrustedIssuer(identifier="https://a.example/", audiences=("a",))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = ("active", "token_type", "typ", "token_use", "iss", "aud", "exp", "scope", "client_id", "cnf", "nonce", "x")


def read(answer: str) -> Answer:
    return read_answer(answer.encode(), ISSUER, token_type_required=True, otherwise_expires_at=int(NOW))


@given(changes=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_answer_is_a_token_or_a_refusal_or_malformed(changes: dict[str, Any]) -> None:
    answer = {"active": True, "token_type": "Bearer", "aud": "a", "sub": "b", **changes}
    try:
        found = read(json.dumps(answer))
    except ValueError:  # `active` is no boolean, or a number is none
        return
    if isinstance(found, AccessToken):
        assert answer["active"] is True
        assert answer.get("iss", found.issuer) == found.issuer


def test_an_inactive_token_is_refused_whatever_else_the_answer_says() -> None:
    assert read('{"active":false}') == Refusal(Reason.INACTIVE, None)
    assert read('{"active":false,"token_type":"refresh_token"}') == Refusal(Reason.INACTIVE, None)


def read_with(extension: str) -> Answer:
    """Read an answer about a good token, with an extension in JSON."""
    return read(f'{{"active":true,"token_type":"Bearer","aud":"a","sub":"b","client_id":"c","extension":{extension}}}')


@pytest.mark.parametrize(("depth", "is_read"), [(10, True), (11, False)])
def test_an_answer_nests_to_a_depth_of_10(depth: int, *, is_read: bool) -> None:
    inner = depth - 1  # the answer itself is one
    with nullcontext() if is_read else pytest.raises(ValueError, match="deep"):
        assert isinstance(read_with("[" * inner + "]" * inner), AccessToken)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_an_answer_with_a_number_that_json_has_not_is_malformed(number: str) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|NaN or Infinity"):
        read_with(number)


@pytest.mark.parametrize(
    ("changes", "reason", "claim"),
    [
        ({"iss": "https://other.example/"}, Reason.ISSUER, "iss"),
        ({"iss": None, "token_type": None}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": None}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": "refresh_token"}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": "N_A"}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": ["Bearer"]}, Reason.TOKEN_TYPE, "token_type"),
        ({"token_type": "DPoP"}, Reason.CLAIM_MISSING, "cnf"),
        ({"token_type": None, "typ": "DPoP"}, Reason.CLAIM_MISSING, "cnf"),
        ({"token_type": None, "typ": "DPoP", "cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"token_type": None, "typ": ["Bearer"]}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_type": None, "token_use": {"access": 1}}, Reason.CLAIM_MISSING, "token_type"),
        ({"token_use": "refresh_token"}, Reason.TOKEN_TYPE, "token_use"),
        ({"token_use": "id"}, Reason.TOKEN_TYPE, "token_use"),
        ({"typ": "Refresh"}, Reason.TOKEN_TYPE, "typ"),
        ({"typ": "ID"}, Reason.TOKEN_TYPE, "typ"),
        ({"nonce": "n"}, Reason.TOKEN_TYPE, "nonce"),
        ({"at_hash": "h"}, Reason.TOKEN_TYPE, "at_hash"),
        ({"aud": None}, Reason.CLAIM_MISSING, "aud"),
        ({"aud": "https://other-api.example"}, Reason.AUDIENCE, "aud"),
        ({"aud": 7}, Reason.CLAIM_MALFORMED, "aud"),
        ({"sub": None}, Reason.CLAIM_MISSING, "sub"),
        ({"exp": NOW - 30}, Reason.EXPIRED, "exp"),
        ({"exp": "never"}, Reason.CLAIM_MALFORMED, "exp"),
        ({"nbf": NOW + 31}, Reason.NOT_YET_VALID, "nbf"),
        ({"iat": NOW + 31}, Reason.NOT_YET_VALID, "iat"),
        ({"scope": ["read:devices"]}, Reason.CLAIM_MALFORMED, "scope"),
        ({"client_id": 7}, Reason.CLAIM_MALFORMED, "client_id"),
        ({"cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"cnf": {"x5t#S256": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"cnf": {"kid": "k"}}, Reason.KEY_BOUND, "cnf"),
        ({"token_type": "DPoP", "cnf": {"jkt": "k"}}, Reason.KEY_BOUND, "cnf"),
    ],
)
def test_an_active_token_is_refused_by_the_same_rules_as_a_jwt(
    issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any], reason: Reason, claim: str
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, **changes)
    for _ in range(2):
        assert refused(lambda: verifier.verify(OPAQUE)) == (reason, claim)
    # What has expired is not remembered.
    assert issuer.questions == (2 if reason is Reason.EXPIRED else 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"exp": None},
        {"token_type": "bearer"},
        {"token_type": "access_token", "token_use": "access_token"},
        {"token_type": None, "typ": "Bearer", "nonce": "n"},
        {"token_type": None, "token_use": "access_token"},
        {"token_type": None, "token_use": "access"},
        {"aud": ["a", AUDIENCE]},
        {"username": "ada", "extension": {"a": [{"b": {"c": {}}}]}},
    ],
)
def test_an_access_token_is_accepted_however_the_answer_calls_it(
    issuer: Issuer, verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, **changes)
    assert verifier.verify(OPAQUE).subject == "user-1"
    assert "active" not in verifier.verify(OPAQUE).claims


def test_an_issuer_that_names_no_token_type_can_be_trusted_all_the_same(issuer: Issuer, make: Make) -> None:
    issuer.tokens[OPAQUE] = described(issuer, token_type=None)
    assert make(token_type_required=False).verify(OPAQUE).subject == "user-1"
    issuer.tokens["refresh"] = described(issuer, token_type="refresh_token")
    assert refused(lambda: make(token_type_required=False).verify("refresh")) == (Reason.TOKEN_TYPE, "token_type")


def test_the_rules_of_the_issuer_hold(issuer: Issuer, make: Make) -> None:
    rules = {"scope_claims": ("scp",), "client_id_claims": ("cid",), "required_claims": {"kind": "access"}}
    verifier = make(rules={**rules, "subject_required": False})
    assert refused(lambda: verifier.verify(OPAQUE)) == (Reason.CLAIM_MISSING, "kind")
    issuer.tokens["b"] = described(issuer, kind="access", scp="a b", cid="tv", sub=None)
    token = verifier.verify("b")
    assert token.scopes == {"a", "b"}
    assert (token.client_id, token.subject_or_none) == ("tv", None)


def test_requirements_and_revocations_hold(issuer: Issuer, make: Make, events: Recorded) -> None:
    revoked: list[str | None] = []
    verifier = make(is_revoked=lambda token: token.token_id in revoked)
    with pytest.raises(InsufficientScope):
        verifier.verify(OPAQUE, Requirement(scopes=("admin",)))
    assert verifier.verify(OPAQUE, Requirement(claims={"client_id": "device-app"})).subject == "user-1"
    revoked.append("token-1")
    assert refused(lambda: verifier.verify(OPAQUE)) == (Reason.REVOKED, None)
    assert events.words == ["scope", "remembered", "revoked"]
    assert issuer.questions == 1


def test_without_a_time_a_token_is_valid_until_it_is_asked_about_again(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    issuer.tokens[OPAQUE] = described(issuer, exp=None)
    assert verifier.verify(OPAQUE).expires_at == NOW + 30
    clock.seconds += 30
    assert verifier.verify(OPAQUE).expires_at == NOW + 60
    assert issuer.questions == 2
