"""Rules: what they are called with, the claims they add, and how they deny."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from mock_issuer import Config, ControlError, RuleDenied
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_issuer import Client, RuleContext, User
    from mock_issuer.config import Profile
    from tests.mock_issuer.conftest import LiveIssuer

    Make = Callable[[Config], LiveIssuer]

AUDIENCE = "https://device-api.example"
EVERYTHING = "openid read:devices offline_access"
TEAM = "https://example.com/team"


class DenyingRule:
    """A rule that denies while `denies` is true."""

    def __init__(self, reason: str = "This account is blocked.") -> None:
        self.denies = True
        self.reason = reason

    def __call__(self, user: User, client: Client, context: RuleContext) -> None:
        if self.denies:
            raise RuleDenied(self.reason)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def codes(issuer: LiveIssuer) -> list[str]:
    return [event.type for event in issuer.server.events]


def test_a_rule_sees_user_client_and_protocol(make_issuer: Make) -> None:
    seen: list[tuple[object, ...]] = []

    def watch(user: User, client: Client, context: RuleContext) -> None:
        seen.append((user.username, client.client_id, context.protocol, context.audience, context.scopes))

    issuer = make_issuer(Config(rules=(watch,)))
    tokens = issuer.linked(scope=EVERYTHING, name="bob")
    device = ("bob", "device-app", "oauth2-device-code", AUDIENCE, ("openid", "read:devices", "offline_access"))
    assert seen == [device]
    issuer.refresh(tokens["refresh_token"], scope="read:devices")
    assert seen == [device, ("bob", "device-app", "oauth2-refresh-token", AUDIENCE, ("read:devices",))]


def test_rules_do_not_run_without_a_user(make_issuer: Make) -> None:
    issuer = make_issuer(Config(rules=(DenyingRule(),)))
    assert issuer.machine_token().status_code == 200


def test_rules_run_in_order_and_see_each_others_claims(make_issuer: Make) -> None:
    def first(user: User, client: Client, context: RuleContext) -> None:
        context.access_token[TEAM] = ["blue"]

    def second(user: User, client: Client, context: RuleContext) -> None:
        context.access_token[TEAM] = [*context.access_token[TEAM], "red"]

    issuer = make_issuer(Config(rules=(first, second)))
    assert claims_of(issuer.linked()["access_token"])[TEAM] == ["blue", "red"]


@pytest.mark.parametrize("dialect", ["rfc9068", "auth0"])
def test_claims_are_in_both_tokens_and_computed_at_each_refresh(make_issuer: Make, dialect: Any) -> None:
    number = 0

    def count(user: User, client: Client, context: RuleContext) -> None:
        nonlocal number
        number += 1
        context.access_token["urn:access"] = number
        context.id_token["urn:id"] = {"times": number}

    issuer = make_issuer(Config(rules=(count,), dialect=dialect))
    tokens = issuer.linked(scope=EVERYTHING)
    for expected in (1, 2, 3):
        _, access = issuer.verify(tokens["access_token"])
        _, identity = issuer.verify(tokens["id_token"], audience="device-app")
        assert (access["urn:access"], identity["urn:id"]) == (expected, {"times": expected})
        assert "urn:id" not in access
        assert "urn:access" not in identity
        tokens = issuer.refresh(tokens["refresh_token"]).json()


def test_rules_cannot_replace_the_issuers_own_claims(make_issuer: Make) -> None:
    names = ("iss", "sub", "aud", "exp", "iat", "scope", "client_id", "jti", "auth_time", "name", "email")

    def forge(user: User, client: Client, context: RuleContext) -> None:
        context.access_token.update(dict.fromkeys(names, "forged"))
        context.id_token.update(dict.fromkeys(names, "forged"))

    issuer = make_issuer(Config(rules=(forge,)))
    tokens = issuer.linked(scope=f"{EVERYTHING} profile email")
    for response in (tokens, issuer.refresh(tokens["refresh_token"]).json()):
        _, access = issuer.verify(response["access_token"])
        assert {name for name, value in access.items() if value == "forged"} == {"name", "email"}  # not the issuer's
        _, identity = issuer.verify(response["id_token"], audience="device-app")
        assert {name for name, value in identity.items() if value == "forged"} == {"scope", "client_id", "jti"}
        assert response["scope"] == tokens["scope"]
        assert issuer.get("/userinfo", headers={"Authorization": f"Bearer {response['access_token']}"}).ok


@pytest.mark.parametrize(("profile", "status"), [("auth0", 403), ("rfc", 400)])
def test_a_denial_reaches_the_user_the_device_and_the_log(make_issuer: Make, profile: Profile, status: int) -> None:
    reason = 'Blocked: <b>unpaid</b> & "late".'
    rule = DenyingRule(reason)
    issuer = make_issuer(Config(rules=(rule,), profile=profile))
    device = issuer.device(scope=EVERYTHING)
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    person.send(answer="yes")
    person.log_in()
    page = person.send(answer="allow")
    assert (page.status_code, "<h1>Nothing was connected</h1>" in page.text) == (200, True)
    assert "Blocked: &lt;b&gt;unpaid&lt;/b&gt; &amp; &#34;late&#34;." in page.text
    assert issuer.refused(issuer.poll(device)) == (status, "access_denied")
    denied, exchange = issuer.server.events[-2:]
    assert (denied.type, denied.description) == ("fdeac", f"A rule refused: {reason}")
    assert (denied.client_name, denied.user_id, denied.audience) == ("Device App", "mock|alice", AUDIENCE)
    assert exchange.type == "fede"
    # No consent is stored: the page asks for it again, even when the rule no longer denies.
    rule.denies = False
    again = issuer.device(scope=EVERYTHING)
    person.open("/activate", user_code=again["user_code"])
    assert "<h1>Allow Device App" in person.send(answer="yes").text
    person.send(answer="allow")
    assert issuer.poll(again).status_code == 200


@pytest.mark.parametrize(("reason", "words"), [("", "this account may not connect it."), ("x" * 9000, "x" * 200)])
def test_a_denial_without_a_reason_or_with_a_long_one_is_shown(make_issuer: Make, reason: str, words: str) -> None:
    issuer = make_issuer(Config(rules=(DenyingRule(reason),)))
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    person.log_in()
    page = person.send(answer="allow")
    assert f"was refused: {words}</p>" in page.text
    assert "You did not allow" not in page.text


def test_a_rule_can_deny_after_consent(make_issuer: Make) -> None:
    rule = DenyingRule()
    rule.denies = False
    issuer = make_issuer(Config(rules=(rule,)))
    person = issuer.person()
    person.approve(issuer.device()["user_code"])
    rule.denies = True
    device = issuer.device()
    person.open("/activate", user_code=device["user_code"])
    assert "This account is blocked." in person.send(answer="yes").text
    assert issuer.refused(issuer.poll(device)) == (403, "access_denied")


@pytest.mark.parametrize("way", ["approve", "script"])
def test_a_denial_reaches_the_device_with_the_controls_too(make_issuer: Make, way: str) -> None:
    issuer = make_issuer(Config(rules=(DenyingRule(),)))
    if way == "script":
        issuer.server.script(outcome="approve")
    device = issuer.device()
    if way == "approve":
        issuer.server.approve(device["user_code"])
    assert issuer.refused(issuer.poll(device)) == (403, "access_denied")
    assert codes(issuer) == ["fdeac", "fede"]


@pytest.mark.parametrize(("profile", "status"), [("auth0", 403), ("rfc", 400)])
def test_a_denied_refresh_leaves_the_refresh_token_valid(make_issuer: Make, profile: Profile, status: int) -> None:
    rule = DenyingRule()
    rule.denies = False
    issuer = make_issuer(Config(rules=(rule,), profile=profile))
    tokens = issuer.linked(scope=EVERYTHING)
    rule.denies = True
    response = issuer.refresh(tokens["refresh_token"])
    assert issuer.refused(response) == (status, "access_denied")
    assert "blocked" not in response.text  # the reason is for the user and the log
    assert codes(issuer)[-1] == "fertft"
    rule.denies = False
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_reuse_of_a_refresh_token_revokes_the_family_even_if_a_rule_denies(make_issuer: Make) -> None:
    rule = DenyingRule()
    rule.denies = False
    issuer = make_issuer(Config(rules=(rule,)))
    first = issuer.linked(scope=EVERYTHING)["refresh_token"]
    second = issuer.refresh(first).json()["refresh_token"]
    rule.denies = True
    assert issuer.refused(issuer.refresh(first)) == (403, "invalid_grant")
    rule.denies = False
    assert issuer.refused(issuer.refresh(second)) == (403, "invalid_grant")
    assert "ferrt" in codes(issuer)


class Broken:
    """A rule that raises LookupError until `fixed` is true."""

    def __init__(self) -> None:
        self.fixed = False

    def __call__(self, user: User, client: Client, context: RuleContext) -> None:
        if not self.fixed:
            raise LookupError(f"what-only-the-log-knows {user.password}")


def check_no_leak(text: str) -> None:
    for secret in ("only-the-log", "alice-password", "Traceback", "LookupError"):
        assert secret not in text


def test_a_broken_rule_is_a_500_page_and_decides_nothing(make_issuer: Make) -> None:
    rule = Broken()
    issuer = make_issuer(Config(rules=(rule,)))
    device = issuer.device()
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    person.send(answer="yes")
    person.log_in()
    consent = person.page
    response = person.send(answer="allow")
    assert response.status_code == 500
    assert "text/html" in header_of(response, "Content-Type")
    assert "The issuer has failed; its own log says why." in response.text
    assert "default-src 'none'" in header_of(response, "Content-Security-Policy")
    check_no_leak(response.text)
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")
    assert "fdeac" not in codes(issuer)
    rule.fixed, person.page = True, consent
    assert "Your device is connected" in person.send(answer="allow").text
    assert issuer.poll(device).status_code == 200


@pytest.mark.parametrize("value", [datetime.now(UTC), {1, 2}, b"x", math.nan])
def test_a_claim_that_json_cannot_hold_does_not_use_up_the_code(make_issuer: Make, value: object) -> None:
    values = {"https://example.com/x": value}

    def rule(_user: User, _client: Client, context: RuleContext) -> None:
        context.id_token.update(values)

    issuer = make_issuer(Config(rules=(rule,)))
    device = issuer.device(scope=EVERYTHING)
    with pytest.raises((TypeError, ValueError)):
        issuer.server.approve(device["user_code"])
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")
    values.clear()
    issuer.server.approve(device["user_code"])
    tokens = issuer.poll(device).json()
    values["https://example.com/x"] = value
    assert issuer.refused(issuer.refresh(tokens["refresh_token"])) == (500, "server_error")
    values.clear()
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_a_broken_rule_is_a_json_500_to_a_device(make_issuer: Make) -> None:
    rule = Broken()
    issuer = make_issuer(Config(rules=(rule,)))
    issuer.server.script(outcome="approve")
    device = issuer.device(scope=EVERYTHING)
    response = issuer.poll(device)
    assert issuer.refused(response) == (500, "server_error")
    assert response.headers.get("Cache-Control") == "no-store"
    check_no_leak(response.text)
    rule.fixed = True
    tokens = issuer.poll(device).json()
    rule.fixed = False
    response = issuer.refresh(tokens["refresh_token"])
    assert issuer.refused(response) == (500, "server_error")
    check_no_leak(response.text)
    rule.fixed = True
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_the_exception_of_a_broken_rule_reaches_a_test_in_python(make_issuer: Make) -> None:
    issuer = make_issuer(Config(rules=(Broken(),)))
    device = issuer.device()
    with pytest.raises(LookupError, match="only-the-log"):
        issuer.server.approve(device["user_code"])
    issuer.server.deny(device["user_code"])  # it was still pending
    with pytest.raises(ControlError):
        issuer.server.approve(device["user_code"])
