import json
from typing import Any

import pytest

from api.auth import TrustedIssuer
from api.auth.claims import AccessToken, read_claims
from api.auth.errors import InvalidToken
from api.auth.reasons import Reason
from tests.kit.signing import AUDIENCE, ISSUER, claims

NOW = 1_800_000_000


def read(payload: dict[str, Any], *scope_claims: str, **rules: Any) -> AccessToken:
    issuer = TrustedIssuer(
        identifier=ISSUER, audiences=(AUDIENCE,), **{"scope_claims": scope_claims or ("scope",), **rules}
    )
    return read_claims(payload, json.dumps(payload).encode(), issuer)


def refusal(payload: dict[str, Any], *scope_claims: str, **rules: Any) -> tuple[Reason, str | None]:
    with pytest.raises(InvalidToken) as caught:
        read(payload, *scope_claims, **rules)
    return caught.value.reason, caught.value.claim


def test_reads_every_claim() -> None:
    token = read(claims(NOW, nbf=NOW - 5, auth_time=NOW - 9, acr="gold"))
    assert token.issuer == ISSUER
    assert token.subject == "user-1"
    assert token.audiences == (AUDIENCE,)
    assert (token.expires_at, token.not_before, token.issued_at) == (NOW + 3600, NOW - 5, NOW)
    assert (token.auth_time, token.acr) == (NOW - 9, "gold")
    assert (token.client_id, token.token_id) == ("device-app", "token-1")
    assert token.scopes == {"read:devices", "read:readings"}
    assert token.permissions == frozenset()


def test_every_field_holds_what_its_name_says() -> None:
    payload = claims(NOW, nbf=1, iat=2, auth_time=3, acr="acr", jti="jti", scope="read:scope", permissions=["permit"])
    token = read(payload, "scope", "permissions")
    assert type(token) is AccessToken
    assert token == AccessToken(
        issuer=ISSUER,
        subject_or_none="user-1",
        audiences=(AUDIENCE,),
        expires_at=NOW + 3600,
        not_before=1,
        issued_at=2,
        auth_time=3,
        acr="acr",
        client_id="device-app",
        token_id="jti",
        scopes=frozenset({"read:scope"}),
        permissions=frozenset({"permit"}),
        payload=json.dumps(payload).encode(),
    )


def test_what_is_absent_is_none() -> None:
    token = read({"iss": ISSUER, "sub": "u", "aud": [AUDIENCE], "exp": NOW})
    assert token[4:] == (None, None, None, None, None, None, frozenset(), frozenset(), token.payload, None, None)


def test_client_id_falls_back_to_azp() -> None:
    assert read(claims(NOW, client_id=None, azp="legacy")).client_id == "legacy"
    assert read(claims(NOW, azp="legacy")).client_id == "device-app"


def test_claims_are_each_callers_own() -> None:
    token = read(claims(NOW, nested={"list": [1]}))
    token.claims["nested"]["list"].append(2)
    assert token.claims["nested"] == {"list": [1]}


def test_what_is_printed_of_a_token_tells_nobodys_name() -> None:
    assert str(read(claims(NOW))) == repr(read(claims(NOW))) == f"<AccessToken of {ISSUER}>"


def test_a_token_cannot_be_changed() -> None:
    token = read(claims(NOW))
    with pytest.raises(AttributeError):
        token.subject = "other"  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize("name", ["exp", "sub", "aud"])
def test_required_claims(name: str) -> None:
    assert refusal(claims(NOW, **{name: None})) == (Reason.CLAIM_MISSING, name)


NO_NUMBERS = ["1800003600", True, False, None, [], {}, 1e400, -1e400, -1, 253_402_300_800, 10**400, "\uff19"]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "auth_time"])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_times_are_finite_json_numbers(name: str, value: Any) -> None:
    assert refusal({**claims(NOW), name: value}) == (Reason.CLAIM_MALFORMED, name)


@pytest.mark.parametrize("value", [0, 0.5, 253_402_300_798.5, 253_402_300_799])
def test_times_reach_from_1970_to_9999(value: float) -> None:
    token = read(claims(NOW, exp=value, nbf=value, iat=value, auth_time=value))
    assert (token.expires_at, token.not_before, token.issued_at, token.auth_time) == (int(value), value, value, value)


@pytest.mark.parametrize("name", ["jti", "client_id", "azp", "acr"])
@pytest.mark.parametrize("value", [None, 1, True, ["x"], {}])
def test_strings_are_strings(name: str, value: Any) -> None:
    assert refusal({**claims(NOW), name: value}) == (Reason.CLAIM_MALFORMED, name)


@pytest.mark.parametrize("subject", ["", None, 1, True, ["user-1"], {}, "user\0-1"])
def test_subjects_are_non_empty_strings(subject: Any) -> None:
    assert refusal({**claims(NOW), "sub": subject}) == (Reason.CLAIM_MALFORMED, "sub")


@pytest.mark.parametrize("audience", [None, 1, True, {}, [AUDIENCE, 1], [None], [[AUDIENCE]]])
def test_audiences_are_strings(audience: Any) -> None:
    assert refusal({**claims(NOW), "aud": audience}) == (Reason.CLAIM_MALFORMED, "aud")


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [
        (AUDIENCE, True),
        ([AUDIENCE], True),
        (["other", AUDIENCE], True),
        ([], False),
        ("", False),
        (AUDIENCE + "/", False),
        (AUDIENCE.upper(), False),
        (AUDIENCE[:-1], False),
        ("other", False),
    ],
)
def test_one_audience_must_be_accepted(audience: Any, accepted: bool) -> None:  # noqa: FBT001
    token = read({**claims(NOW), "aud": audience})
    if accepted:
        token.check_audience((AUDIENCE, "second"))
    else:
        with pytest.raises(InvalidToken) as caught:
            token.check_audience((AUDIENCE, "second"))
        assert (caught.value.reason, caught.value.claim) == (Reason.AUDIENCE, "aud")


def times(now: float, **changes: Any) -> tuple[Reason, str | None] | None:
    try:
        read(claims(NOW, **changes)).check_times(now, 30)
    except InvalidToken as refusal:
        return refusal.reason, refusal.claim
    return None


def test_times_and_leeway() -> None:
    assert times(NOW + 3600 + 29.9) is None
    assert times(NOW + 3600 + 30) == (Reason.EXPIRED, "exp")  # RFC 7519 §4.1.4: on or after
    assert times(NOW + 30.5, exp=NOW + 0.9) == (Reason.EXPIRED, "exp")  # a fraction gives no time
    assert times(NOW, nbf=NOW + 30) is None
    assert times(NOW, nbf=NOW + 30.1) == (Reason.NOT_YET_VALID, "nbf")
    assert times(NOW - 30) is None
    assert times(NOW - 31) == (Reason.NOT_YET_VALID, "iat")
    assert times(NOW, iat=None) is None


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("", set()),
        ("a", {"a"}),
        ("a b a", {"a", "b"}),
        ("read:devices https://x/y!~", {"read:devices", "https://x/y!~"}),
    ],
)
def test_scopes_are_words(scope: str, scopes: set[str]) -> None:
    assert read(claims(NOW, scope=scope)).scopes == scopes


@pytest.mark.parametrize(
    "scope",
    [
        " ",
        "a  b",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "a\u00a0b",
        "a\u3000b",
        "a\x1cb",
        "é",
        'a"b',
        "a\\b",
        ["a"],
        1,
        True,
        None,
        {},
    ],
)
def test_other_scopes_are_malformed(scope: Any) -> None:
    assert refusal({**claims(NOW), "scope": scope}) == (Reason.CLAIM_MALFORMED, "scope")
    if isinstance(scope, str):
        assert refusal({**claims(NOW), "scp": scope}, "scp") == (Reason.CLAIM_MALFORMED, "scp")


def test_scp_and_permissions_are_read_where_configured() -> None:
    payload = claims(NOW, scope=None, scp=["a", "b"], permissions=["c"])
    assert read(payload).granted == frozenset()
    assert read(payload, "scp").granted == {"a", "b"}
    token = read(payload, "scope", "scp", "permissions")
    assert token.scopes == {"a", "b"}
    assert token.permissions == {"c"}
    assert token.granted == {"a", "b", "c"}
    assert read(claims(NOW, scope="x", scp="y z"), "scope", "scp").scopes == {"x", "y", "z"}


@pytest.mark.parametrize("name", ["scp", "permissions", "roles"])
@pytest.mark.parametrize("value", [None, 1, {}, ["a", 1], [["a"]]])
def test_lists_of_scopes_are_lists_of_strings(name: str, value: Any) -> None:
    refused = refusal({**claims(NOW), name: value}, "scope", "scp", "permissions", "roles")
    assert refused == (Reason.CLAIM_MALFORMED, name)
    assert read({**claims(NOW), name: value}).subject == "user-1"  # not configured, not looked at


@pytest.mark.parametrize("name", ["at_hash", "c_hash", "s_hash", "events", "htm", "htu"])
@pytest.mark.parametrize("value", ["x", {}, None])
def test_tokens_of_other_kinds_are_refused(name: str, value: Any) -> None:
    assert refusal({**claims(NOW), name: value}) == (Reason.TOKEN_TYPE, name)


@pytest.mark.parametrize("kind", ["ID", "Refresh", "Offline", "Logout"])
def test_other_kinds_that_keycloak_names_are_refused(kind: str) -> None:
    assert refusal(claims(NOW, typ=kind)) == (Reason.TOKEN_TYPE, "typ")


@pytest.mark.parametrize("kind", ["Bearer", 1, ["ID"]])
def test_a_claim_called_typ_says_nothing_else(kind: Any) -> None:
    assert read(claims(NOW, typ=kind)).subject == "user-1"


@pytest.mark.parametrize("kind", ["id", "Access", "ACCESS", "", 1, None, ["access"]])
def test_other_kinds_that_cognito_names_are_refused(kind: Any) -> None:
    assert read(claims(NOW, token_use="access")).subject == "user-1"
    assert refusal({**claims(NOW), "token_use": kind}) == (Reason.TOKEN_TYPE, "token_use")


@pytest.mark.parametrize("kind", [None, "bearer", "Access", 1])
def test_a_nonce_marks_an_id_token_unless_keycloak_says_bearer(kind: Any) -> None:
    assert read(claims(NOW, nonce="n", typ="Bearer")).subject == "user-1"
    assert refusal(claims(NOW, nonce="n", typ=kind)) == (Reason.TOKEN_TYPE, "nonce")


@pytest.mark.parametrize(
    ("confirmation", "thumbprints"),
    [
        ({"jkt": "k" * 43}, ("k" * 43, None)),
        ({"x5t#S256": "c" * 43}, (None, "c" * 43)),
        ({"jkt": "k" * 43, "x5t#S256": "c" * 43}, ("k" * 43, "c" * 43)),
        ({"jkt": "k" * 43, "jwk": 7, "kid": None}, ("k" * 43, None)),
    ],
)
def test_a_token_names_the_key_that_it_is_bound_to(
    confirmation: Any, thumbprints: tuple[str | None, str | None]
) -> None:
    token = read(claims(NOW, cnf=confirmation))
    assert (token.key_thumbprint, token.certificate_thumbprint) == thumbprints


def test_most_tokens_are_bound_to_no_key() -> None:
    token = read(claims(NOW))
    assert (token.key_thumbprint, token.certificate_thumbprint) == (None, None)


@pytest.mark.parametrize("confirmation", [{}, {"jwk": {"kty": "oct"}}, {"kid": "a"}, {"x5t": "a"}])
def test_tokens_bound_to_a_key_of_another_kind_are_refused(confirmation: Any) -> None:
    assert refusal(claims(NOW, cnf=confirmation)) == (Reason.KEY_BOUND, "cnf")


@pytest.mark.parametrize("name", ["jkt", "x5t#S256"])
@pytest.mark.parametrize("value", [None, 1, "", [], "k" * 65])
def test_a_thumbprint_is_a_short_string(name: str, value: Any) -> None:
    assert refusal(claims(NOW, cnf={name: value, "kid": "a"})) == (Reason.CLAIM_MALFORMED, "cnf")
    # SHA-256 has 43 characters in base64url; 64 are allowed.
    token = read(claims(NOW, cnf={name: "k" * 64}))
    assert "k" * 64 in (token.key_thumbprint, token.certificate_thumbprint)


@pytest.mark.parametrize("confirmation", ["x", 1, [], True])
def test_a_confirmation_is_an_object(confirmation: Any) -> None:
    assert refusal(claims(NOW, cnf=confirmation)) == (Reason.CLAIM_MALFORMED, "cnf")
    assert refusal({**claims(NOW), "cnf": None}) == (Reason.CLAIM_MALFORMED, "cnf")


def test_keycloak_calls_a_bound_token_dpop_in_place_of_bearer() -> None:
    marks = {"required_claims": {"typ": "Bearer"}}
    bound = claims(NOW, typ="DPoP", cnf={"jkt": "k" * 43})
    assert read(bound, **marks).key_thumbprint == "k" * 43
    assert read({**bound, "nonce": "n"}, **marks).subject == "user-1"
    assert refusal(claims(NOW, typ="DPoP"), **marks) == (Reason.TOKEN_TYPE, "typ")
    certificate = claims(NOW, typ="DPoP", cnf={"x5t#S256": "c" * 43})
    assert refusal(certificate, **marks) == (Reason.TOKEN_TYPE, "typ")
    assert refusal({**bound, "kind": "DPoP"}, required_claims={"kind": "Bearer"}) == (Reason.TOKEN_TYPE, "kind")
    assert refusal(bound, required_claims={"typ": "at"}) == (Reason.TOKEN_TYPE, "typ")
    assert refusal({**bound, "typ": "kind to come"}, **marks) == (Reason.TOKEN_TYPE, "typ")


# The rules of an issuer


def test_the_claim_that_counts_first_names_the_client() -> None:
    payload = claims(NOW, client_id="first", azp="second", cid="third")
    assert read(payload, client_id_claims=("cid", "azp")).client_id == "third"
    assert read(payload, client_id_claims=("azp", "cid")).client_id == "second"
    assert read(payload, client_id_claims=("appid",)).client_id is None


@pytest.mark.parametrize("name", ["azp", "cid"])
def test_every_claim_that_may_name_the_client_is_a_string(name: str) -> None:
    payload = {**claims(NOW, cid="c", azp="d"), name: 1}
    assert refusal(payload, client_id_claims=("cid", "azp")) == (Reason.CLAIM_MALFORMED, name)


def test_a_list_of_scopes_is_read_where_it_is_configured() -> None:
    payload = {**claims(NOW), "scope": ["read:a", "read:b"]}
    assert read(payload, scope_list=True).scopes == {"read:a", "read:b"}
    assert refusal(payload) == (Reason.CLAIM_MALFORMED, "scope")
    assert read(claims(NOW, scope="a b"), scope_list=True).scopes == {"a", "b"}
    assert read({**claims(NOW), "scope": []}, scope_list=True).scopes == frozenset()


@pytest.mark.parametrize("scope", [None, 1, True, {}, ["a", 1], [["a"]], [None], "a  b"])
def test_other_lists_of_scopes_are_malformed(scope: Any) -> None:
    assert refusal({**claims(NOW), "scope": scope}, scope_list=True) == (Reason.CLAIM_MALFORMED, "scope")


def test_roles_are_permissions_where_configured() -> None:
    payload = claims(NOW, scope="a", roles=["b"], permissions=["c"])
    assert read(payload, "scope", "roles").permissions == {"b"}
    assert read(payload, "roles", "permissions").granted == {"b", "c"}
    assert read(payload).granted == {"a"}
    assert refusal(claims(NOW, roles="b"), "roles") == (Reason.CLAIM_MALFORMED, "roles")


@pytest.mark.parametrize(
    ("granting", "granted"),
    [
        ({"scp": "a", "roles": ["b"]}, {"a"}),
        ({"scp": ["a"], "roles": ["b"], "permissions": ["c"]}, {"a"}),
        ({"scp": "", "roles": ["b"]}, set()),
        ({"scp": [], "roles": ["b"]}, set()),
        ({"scp": "a", "roles": "malformed"}, {"a"}),
        ({"roles": ["b"]}, {"b"}),
        ({"roles": ["b"], "permissions": ["c"]}, {"b", "c"}),
        ({}, set()),
    ],
)
def test_claims_of_an_app_grant_only_in_a_token_without_scopes(granting: dict[str, Any], granted: set[str]) -> None:
    rules = {"app_scope_claims": ("roles", "permissions")}
    assert read(claims(NOW, scope="other", **granting), "scp", **rules).granted == granted


def test_claims_of_an_app_keep_their_form() -> None:
    rules = {"app_scope_claims": ("scope",)}
    assert read(claims(NOW, scope="a b"), "scp", **rules).scopes == {"a", "b"}
    assert refusal(claims(NOW, scope="a  b"), "scp", **rules) == (Reason.CLAIM_MALFORMED, "scope")
    assert refusal({**claims(NOW, scope="a"), "scp": None}, "scp", **rules) == (Reason.CLAIM_MALFORMED, "scp")


def test_the_subject_may_be_absent_where_configured() -> None:
    token = read(claims(NOW, sub=None), subject_required=False)
    assert token.subject_or_none is None
    with pytest.raises(InvalidToken) as caught:
        _ = token.subject
    assert (caught.value.reason, caught.value.claim) == (Reason.CLAIM_MISSING, "sub")
    assert read(claims(NOW), subject_required=False).subject == "user-1"


@pytest.mark.parametrize("subject", ["", None, 1, [], "user\0-1"])
def test_a_subject_that_is_present_is_well_formed_even_if_it_is_not_required(subject: Any) -> None:
    payload = {**claims(NOW), "sub": subject}
    assert refusal(payload, subject_required=False) == (Reason.CLAIM_MALFORMED, "sub")


def test_the_client_may_be_the_audience() -> None:
    token = read(claims(NOW, aud=None, client_id="c"), audience_claim="client_id")
    assert token.audiences == ("c",)
    token.check_audience(("c",), "client_id")
    with pytest.raises(InvalidToken) as caught:
        token.check_audience(("d",), "client_id")
    assert (caught.value.reason, caught.value.claim) == (Reason.AUDIENCE, "client_id")


@pytest.mark.parametrize("bound_to", [AUDIENCE, [AUDIENCE], ["https://other.example", AUDIENCE]])
def test_an_audience_besides_the_client_is_this_api(bound_to: Any) -> None:
    rules: dict[str, Any] = {"audience_claim": "client_id"}
    payload = claims(NOW, aud=bound_to, client_id="c")
    assert read(payload, **rules, resource_audiences=(AUDIENCE,)).audiences == ("c",)
    assert refusal(payload, **rules) == (Reason.AUDIENCE, "aud")
    assert refusal(payload, **rules, resource_audiences=("https://third.example",)) == (Reason.AUDIENCE, "aud")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_id": None}, (Reason.CLAIM_MISSING, "client_id")),
        ({"client_id": ["c"]}, (Reason.CLAIM_MALFORMED, "client_id")),
        ({"aud": 1}, (Reason.CLAIM_MALFORMED, "aud")),
        ({"aud": []}, (Reason.AUDIENCE, "aud")),
        ({"aud": ""}, (Reason.AUDIENCE, "aud")),
    ],
)
def test_a_client_as_audience_is_well_formed(changes: dict[str, Any], expected: tuple[Reason, str]) -> None:
    payload = claims(NOW, **{"aud": None, **changes})
    assert refusal(payload, audience_claim="client_id", resource_audiences=(AUDIENCE,)) == expected


def test_required_claims_have_their_value() -> None:
    rules = {"required_claims": {"token_use": "access", "level": 1, "list": ["a"]}}
    assert read(claims(NOW, token_use="access", level=1.0, list=["a"]), **rules).subject == "user-1"
    assert refusal(claims(NOW, level=1, list=["a"]), **rules) == (Reason.CLAIM_MISSING, "token_use")
    for name, value in (("level", True), ("level", "1"), ("list", ["A"]), ("list", "a")):
        payload = {**claims(NOW, token_use="access", level=1, list=["a"]), name: value}
        assert refusal(payload, **rules) == (Reason.TOKEN_TYPE, name)
    assert refusal({**claims(NOW, token_use="access", list=["a"]), "level": None}, **rules)[1] == "level"


@pytest.mark.parametrize("present", [{"scp": "a"}, {"scp": ["a"]}, {"roles": ["a"]}, {"scp": "", "roles": ["a"]}])
def test_one_claim_of_each_group_is_there(present: dict[str, Any]) -> None:
    rules = {"one_of_claims": (("azp",), ("scp", "roles"))}
    assert read(claims(NOW, azp="c", **present), **rules).subject == "user-1"
    assert refusal(claims(NOW, **present), **rules) == (Reason.CLAIM_MISSING, "azp")


@pytest.mark.parametrize("absent", [{}, {"scp": ""}, {"scp": []}, {"scp": 1}, {"roles": {}}, {"roles": {"a": 1}}])
def test_a_group_without_any_claim_is_named(absent: dict[str, Any]) -> None:
    rules = {"one_of_claims": (("azp",), ("scp", "roles"))}
    assert refusal(claims(NOW, azp="c", **absent), **rules) == (Reason.CLAIM_MISSING, "scp or roles")


def test_later_changes_of_a_dict_do_not_change_the_issuer() -> None:
    required: dict[str, Any] = {"list": ["a"]}
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), required_claims=required)
    required["list"].append("b")
    required.clear()
    assert issuer.required_claims == {"list": ["a"]}
