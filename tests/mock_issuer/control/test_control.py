"""The controls in Python, on a live server; test_http.py tests them over HTTP."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mock_issuer import Config, ControlError, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
PENDING, DENIED, EXPIRED, SLOW = "authorization_pending", "access_denied", "expired_token", "slow_down"
# The statuses of each profile; the error codes are those of RFC 8628 §3.5 in both.
STATUSES = {
    "auth0": {PENDING: 403, DENIED: 403, EXPIRED: 403, SLOW: 429},
    "rfc": dict.fromkeys((PENDING, DENIED, EXPIRED, SLOW), 400),
}


def payload(token: str, part: int = 1) -> dict[str, Any]:
    segment = token.split(".")[part]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return decoded


def kids(issuer: LiveIssuer) -> list[str]:
    return [key["kid"] for key in issuer.get("/.well-known/jwks.json").json()["keys"]]


def answers(issuer: LiveIssuer, device: dict[str, Any], polls: int) -> list[str]:
    """Poll at the right interval; return the error code of each response, `tokens` for success."""
    found = []
    for _ in range(polls):
        response = issuer.poll(device)
        error = response.json().get("error", "tokens")
        expected = 200 if error == "tokens" else STATUSES[issuer.server.config.profile][error]
        assert response.status_code == expected
        found.append(error)
        issuer.clock.advance(5)
    return found


# Tokens


def test_a_token_by_default_is_the_first_users_for_the_first_api(issuer: LiveIssuer) -> None:
    header, claims = issuer.verify(issuer.server.token())
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")
    now = int(issuer.clock.now)
    assert claims.pop("jti")
    assert claims == {
        "iss": issuer.url,
        "sub": "mock|alice",
        "aud": AUDIENCE,
        "client_id": "device-app",
        "scope": "",
        "iat": now,
        "exp": now + 86400,
    }


def test_a_token_has_the_given_claims_and_header(issuer: LiveIssuer) -> None:
    token = issuer.server.token(
        scope="read:devices never:heard",
        sub="someone",
        audience="urn:other",
        client_id="tv",
        expires_in=7200.9,
        claims={"acr": "urn:strong", "jti": None, "scope": ["a"], "deep": {"list": [1, None, "é"]}},
        header={"typ": "JWT", "x": [1]},
    )
    header, claims = issuer.verify(token, audience="urn:other")
    assert header == {"alg": "RS256", "kid": kids(issuer)[0], "typ": "JWT", "x": [1]}
    now = int(issuer.clock.now)
    assert claims == {
        "iss": issuer.url,
        "sub": "someone",
        "aud": "urn:other",
        "client_id": "tv",
        "scope": ["a"],
        "iat": now,
        "exp": now + 7200,
        "acr": "urn:strong",
        "deep": {"list": [1, None, "é"]},
    }


def test_a_token_may_be_expired_and_lack_header_parameters(issuer: LiveIssuer) -> None:
    token = issuer.server.token(expires_in=-60, header={"kid": None, "typ": None})
    assert payload(token)["exp"] == int(issuer.clock.now) - 60
    assert payload(token, 0) == {"alg": "RS256"}


def test_userinfo_accepts_a_token_with_openid(issuer: LiveIssuer) -> None:
    token = issuer.server.token(scope="openid email", sub="mock|bob")
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert response.json() == {"sub": "mock|bob", "email": "bob@example.com", "email_verified": True}


@pytest.mark.parametrize("expires_in", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_lifetime_is_a_finite_number(issuer: LiveIssuer, expires_in: float) -> None:
    with pytest.raises(ControlError, match="expires_in"):
        issuer.server.token(expires_in=expires_in)


def test_defaults_must_be_configured(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    server = make_issuer(Config(apis=(), clients=(), users=())).server
    with pytest.raises(ControlError, match="No user"):
        server.token()
    with pytest.raises(ControlError, match="audience"):
        server.token(sub="a")
    with pytest.raises(ControlError, match="client_id"):
        server.token(sub="a", audience="b")
    assert payload(server.token(sub="a", audience="b", client_id="c"))["client_id"] == "c"
    with pytest.raises(ControlError, match="No user"):
        server.script(outcome="approve")
    server.script()  # without an outcome, no user is needed


# Keys


def test_a_rotation_signs_with_a_new_key_and_publishes_both(issuer: LiveIssuer) -> None:
    before = issuer.server.token()
    first = kids(issuer)
    second = issuer.server.rotate_keys()
    assert kids(issuer) == [*first, second]
    after = issuer.server.token()
    assert payload(after, 0)["kid"] == second != payload(before, 0)["kid"]
    issuer.verify(before)
    issuer.verify(after)
    linked = issuer.linked()["access_token"]
    assert payload(linked, 0)["kid"] == second


def test_a_withdrawn_key_is_no_longer_published(issuer: LiveIssuer) -> None:
    (first,) = kids(issuer)
    second = issuer.server.rotate_keys()
    third = issuer.server.rotate_keys()
    assert issuer.server.withdraw_key() == first
    assert issuer.server.withdraw_key(third) == third
    assert kids(issuer) == [second]
    assert payload(issuer.server.token(), 0)["kid"] == third  # still signs, but is not published
    for unpublished in (first, third, "other", ""):
        with pytest.raises(ControlError, match="kid"):
            issuer.server.withdraw_key(unpublished)
    assert issuer.server.withdraw_key() == second
    assert kids(issuer) == []
    with pytest.raises(ControlError, match="kid"):
        issuer.server.withdraw_key()


def test_userinfo_rejects_tokens_of_withdrawn_keys(issuer: LiveIssuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.server.token(scope='openid')}"}
    assert issuer.get("/userinfo", headers=headers).status_code == 200
    issuer.server.withdraw_key()
    assert issuer.refused(issuer.get("/userinfo", headers=headers)) == (401, "invalid_token")


def test_eight_concurrent_rotations_lose_no_key(issuer: LiveIssuer) -> None:
    (first,) = kids(issuer)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: issuer.server.rotate_keys(), range(8)))
    assert len(made) == 8
    assert set(kids(issuer)) == {first, *made}


# The key endpoint


def jwks(issuer: LiveIssuer) -> requests.Response:
    return issuer.get("/.well-known/jwks.json", allow_redirects=False)


def test_a_fault_of_the_key_endpoint_lasts_until_the_next_call(issuer: LiveIssuer) -> None:
    good = jwks(issuer)
    issuer.server.jwks_fault(status=503)
    assert (jwks(issuer).status_code, jwks(issuer).content) == (503, good.content)
    issuer.server.jwks_fault(body="<html>é")
    broken = jwks(issuer)
    assert (broken.status_code, broken.content) == (200, "<html>é".encode())
    assert broken.headers.get("Content-Length") == "8"
    issuer.server.jwks_fault(redirect="http://127.0.0.1:1/keys")
    moved = jwks(issuer)
    assert (moved.status_code, moved.headers.get("Location")) == (302, "http://127.0.0.1:1/keys")
    issuer.server.jwks_fault(redirect="/elsewhere", status=307, body="")
    moved = jwks(issuer)
    assert (moved.status_code, moved.headers.get("Location"), moved.content) == (307, "/elsewhere", b"")
    issuer.server.jwks_fault()
    assert (jwks(issuer).status_code, jwks(issuer).content) == (200, good.content)
    assert "Location" not in jwks(issuer).headers


@pytest.mark.parametrize("end", ["jwks_fault", "reset"])
def test_a_delay_ends_with_the_fault(issuer: LiveIssuer, end: str) -> None:
    issuer.server.jwks_fault(delay=3600)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(jwks, issuer)
        # The server answers other requests meanwhile.
        assert issuer.get("/.well-known/openid-configuration").status_code == 200
        assert not waiting.done()
        getattr(issuer.server, end)()
        assert waiting.result(timeout=10).status_code == 200


def test_a_delay_does_not_outlive_the_server() -> None:
    with ThreadPoolExecutor(1) as pool:
        with Server() as server:
            server.jwks_fault(delay=3600)
            pool.submit(requests.get, server.url + ".well-known/jwks.json", timeout=10)
            requests.get(server.url + ".well-known/openid-configuration", timeout=10)
            started = time.monotonic()
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 199},
        {"status": 600},
        {"status": -1},
        {"delay": -0.1},
        {"delay": 3601},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"redirect": "http://a/\r\nX: y"},
        {"redirect": "http://é/"},
        {"body": "\ud800"},
    ],
)
def test_a_fault_must_be_possible_in_http(issuer: LiveIssuer, fault: dict[str, Any]) -> None:
    issuer.server.jwks_fault(status=503)
    with pytest.raises(ControlError):
        issuer.server.jwks_fault(**fault)
    assert jwks(issuer).status_code == 503  # the previous fault is still set


# Decisions


def test_polls_return_the_outcome_of_approve_deny_and_expire(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    profile = STATUSES[issuer.server.config.profile]
    approved, denied, expired = (issuer.device(scope="openid read:devices") for _ in range(3))
    issuer.server.approve(approved["user_code"].lower().replace("-", " "), user="bob")
    issuer.server.deny(denied["user_code"], user="bob")
    issuer.server.expire(expired["user_code"])
    tokens = issuer.poll(approved).json()
    _, claims = issuer.verify(tokens["access_token"])
    assert (claims["sub"], claims["auth_time"]) == ("mock|bob", int(issuer.clock.now))
    assert issuer.refused(issuer.poll(denied)) == (profile[DENIED], DENIED)
    assert issuer.refused(issuer.poll(expired)) == (profile[EXPIRED], EXPIRED)
    # The pages do not accept these codes either.
    for device in (approved, denied, expired):
        page = issuer.person().open("/activate", user_code=device["user_code"])
        assert page.status_code == 400


def test_the_first_user_decides_by_default(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.server.approve(device["user_code"])
    assert issuer.verify(issuer.poll(device).json()["access_token"])[1]["sub"] == "mock|alice"


@pytest.mark.parametrize("operation", ["approve", "deny", "expire"])
def test_only_a_pending_request_can_be_decided(issuer: LiveIssuer, operation: str) -> None:
    decide = getattr(issuer.server, operation)
    decided, late = issuer.device(), issuer.device()
    decide(decided["user_code"])
    issuer.clock.advance(900)
    for user_code in (decided["user_code"], late["user_code"], "WRON-GCOD", "", "é\x00", "\ud800"):
        with pytest.raises(ControlError, match="No pending request"):
            decide(user_code)


@pytest.mark.parametrize("operation", ["approve", "deny"])
def test_only_a_known_user_can_decide(issuer: LiveIssuer, operation: str) -> None:
    device = issuer.device()
    for name in ("nobody", "", "mock|alice"):
        with pytest.raises(ControlError, match="No user has this name"):
            getattr(issuer.server, operation)(device["user_code"], user=name)
    assert answers(issuer, device, 1) == [PENDING]


def test_wrong_codes_of_the_controls_are_not_counted(issuer: LiveIssuer) -> None:
    for _ in range(10):
        with pytest.raises(ControlError):
            issuer.server.approve("WRON-GCOD")
    assert issuer.person().open("/activate", user_code=issuer.device()["user_code"]).status_code == 200


def test_eight_concurrent_approvals_of_one_code_link_one_device(issuer: LiveIssuer) -> None:
    device = issuer.device(scope="read:devices offline_access")

    def approve(number: int) -> str:
        try:
            issuer.server.approve(device["user_code"], user=("alice", "bob")[number % 2])
        except ControlError as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(approve, range(8)))
    assert set(results) <= {"", "No pending request has this user code."}
    assert "" in results
    assert issuer.poll(device).status_code == 200
    linked = [
        len(issuer.server._issuer.state.find_families(user, now=issuer.clock())) for user in issuer.server.config.users
    ]
    assert sorted(linked) == [0, 1]


# Removed users


def test_a_user_can_be_removed_before_the_code_is_redeemed(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    device = issuer.device(scope="openid read:devices offline_access")
    issuer.server.approve(device["user_code"], user="bob")
    issuer.server.remove_user("bob")
    status = 400 if issuer.server.config.profile == "rfc" else 403
    for _ in range(2):
        assert issuer.refused(issuer.poll(device)) == (status, "invalid_grant")
    (event, _) = issuer.server.events
    assert (event.type, event.description) == ("fede", "The user who approved this no longer exists.")


def test_a_removed_user_has_no_tokens_no_session_and_no_consent(issuer: LiveIssuer) -> None:
    person = issuer.person()
    device = issuer.device(scope="openid read:devices offline_access")
    person.approve(device["user_code"])
    tokens = issuer.poll(device).json()
    issuer.server.remove_user("alice")
    assert issuer.refused(issuer.refresh(tokens["refresh_token"])) == (403, "invalid_grant")
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert issuer.refused(issuer.get("/userinfo", headers=headers)) == (401, "invalid_token")
    for token in (tokens["access_token"], tokens["refresh_token"]):
        form = {"token": token, "client_id": "device-gateway", "client_secret": "public-test-secret"}
        assert issuer.post("/oauth/introspect", form).json() == {"active": False}
    assert "<h1>Log in</h1>" in person.open("/account/devices").text
    assert "Alice" not in person.page.text
    assert person.log_in().status_code == 400
    with pytest.raises(ControlError, match="No user"):
        issuer.server.remove_user("alice")
    with pytest.raises(ControlError, match="No user"):
        issuer.server.approve(issuer.device()["user_code"], user="alice")
    issuer.server.reset()
    again = issuer.device()
    person.open("/activate", user_code=again["user_code"])
    person.send(answer="yes")
    assert "<h1>Allow Device App" in person.log_in().text


def test_every_user_can_be_removed(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.server.script(outcome="approve")
    scripted = issuer.device()
    for user in ("alice", "bob"):
        issuer.server.remove_user(user)
    assert issuer.refused(issuer.poll(scripted)) == (403, "authorization_pending")
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    assert "<h1>Log in</h1>" in person.send(answer="yes").text
    with pytest.raises(ControlError, match="No user"):
        issuer.server.approve(device["user_code"])


# Scripts


@pytest.mark.parametrize(("outcome", "end"), [("approve", "tokens"), ("deny", DENIED), ("expire", EXPIRED)])
@pytest.mark.parametrize("after_polls", [0, 2])
def test_a_script_decides_after_the_given_number_of_polls(
    either_issuer: LiveIssuer, outcome: Any, end: str, after_polls: int
) -> None:
    issuer = either_issuer
    earlier = issuer.device()
    issuer.server.script(after_polls=after_polls, outcome=outcome, user="bob")
    first, second = issuer.device(), issuer.device()
    assert answers(issuer, first, after_polls + 1) == [PENDING] * after_polls + [end]
    assert answers(issuer, second, after_polls + 1) == [PENDING] * after_polls + [end]
    # A script does not decide requests that started before it or after its end.
    assert answers(issuer, earlier, 1) == [PENDING]
    issuer.server.script()
    assert answers(issuer, issuer.device(), 4) == [PENDING] * 4


def test_polls_that_are_too_fast_do_not_count_for_a_script(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    issuer.server.script(after_polls=2, outcome="approve")
    device = issuer.device()
    assert issuer.poll(device).json()["error"] == PENDING
    slowed = [issuer.poll(device).json()["error"] for _ in range(3)]
    assert slowed == [SLOW] * 3
    issuer.clock.advance(5 + 3 * 5)  # under the RFC's profile each slow_down added five seconds
    assert issuer.poll(device).json()["error"] == PENDING
    # The script is due: even a fast poll gets tokens, since only pending requests are throttled.
    assert issuer.poll(device).status_code == 200


def test_a_person_can_decide_before_the_script(issuer: LiveIssuer) -> None:
    issuer.server.script(after_polls=5, outcome="deny")
    device = issuer.device()
    issuer.person().approve(device["user_code"], "bob")
    assert issuer.verify(issuer.poll(device).json()["access_token"])[1]["sub"] == "mock|bob"


@pytest.mark.parametrize("outcome", ["approve", "deny", "expire"])
def test_a_poll_of_another_client_does_not_run_the_script(
    make_issuer: Callable[[Config], LiveIssuer], outcome: Any
) -> None:
    from mock_issuer import Client

    issuer = make_issuer(Config(clients=(*Config().clients, Client(client_id="other"))))
    issuer.server.script(outcome=outcome)
    device = issuer.device()
    assert issuer.refused(issuer.poll(device, client_id="other")) == (403, "invalid_grant")
    assert [event.type for event in issuer.server.events] == ["fede"]
    issuer.person().approve(device["user_code"], "bob")  # it is still pending
    assert issuer.verify(issuer.poll(device).json()["access_token"])[1]["sub"] == "mock|bob"


def test_eight_concurrent_polls_of_a_scripted_request_give_one_token(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    issuer.server.script(outcome="approve")
    device = issuer.device(scope="read:devices offline_access")
    with ThreadPoolExecutor(8) as pool:
        results = [answer.json().get("error", "tokens") for answer in pool.map(lambda _: issuer.poll(device), range(8))]
    assert sorted(results) == ["invalid_grant"] * 7 + ["tokens"]
    assert [event.type for event in issuer.server.events].count("sede") == 1


def test_eight_concurrent_polls_log_a_scripted_denial_once(issuer: LiveIssuer) -> None:
    issuer.server.script(outcome="deny")
    device = issuer.device()
    with ThreadPoolExecutor(8) as pool:
        errors = {answer.json()["error"] for answer in pool.map(lambda _: issuer.poll(device), range(8))}
    assert errors == {DENIED}
    assert [event.type for event in issuer.server.events].count("fdeac") == 1


def test_a_script_is_checked_when_it_is_set(issuer: LiveIssuer) -> None:
    with pytest.raises(ControlError, match="0 or more"):
        issuer.server.script(after_polls=-1, outcome="approve")
    with pytest.raises(ControlError, match="No user"):
        issuer.server.script(outcome="approve", user="nobody")
    assert answers(issuer, issuer.device(), 1) == [PENDING]


# The clock


def test_advancing_the_clock_affects_every_lifetime(issuer: LiveIssuer) -> None:
    device = issuer.device()
    assert issuer.poll(device).json()["error"] == PENDING
    issuer.server.clock.advance(4.5)
    assert issuer.poll(device).json()["error"] == SLOW
    issuer.server.clock.advance(0.5)
    assert issuer.poll(device).json()["error"] == PENDING
    issuer.server.clock.advance(895)
    assert issuer.poll(device).json()["error"] == EXPIRED
    assert payload(issuer.server.token())["iat"] == int(issuer.clock.now) + 900


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10 * 366 * 86_400 + 1, 10**400])
def test_the_clock_moves_forward_within_limits(issuer: LiveIssuer, seconds: float) -> None:
    with pytest.raises(ValueError, match="forward"):
        issuer.server.clock.advance(seconds)
    assert issuer.server.clock() == issuer.clock.now


def test_the_clock_advances_ten_years_in_all(issuer: LiveIssuer) -> None:
    issuer.server.clock.advance(10 * 366 * 86_400)
    with pytest.raises(ValueError, match="ten years"):
        issuer.server.clock.advance(1)
    assert issuer.get("/logs").status_code == 200
    issuer.server.clock.reset()
    issuer.server.clock.advance(1)


# Reset


def test_resets_under_load_break_no_request(issuer: LiveIssuer) -> None:
    over = threading.Event()

    def connect() -> set[int]:
        statuses = set()
        while not over.is_set():
            device = issuer.device(scope="read:devices offline_access")
            with suppress(ControlError):
                issuer.server.approve(device["user_code"])
            tokens = issuer.poll(device)
            again = issuer.refresh(tokens.json().get("refresh_token", "x"))
            statuses |= {tokens.status_code, again.status_code, issuer.get("/logs").status_code}
        return statuses

    with ThreadPoolExecutor(4) as pool:
        flows = [pool.submit(connect) for _ in range(4)]
        for _ in range(100):
            issuer.server.clock.advance(1000)
            issuer.server.reset()
            assert issuer.get("/logs").status_code == 200
        over.set()
        assert set().union(*(flow.result() for flow in flows)) <= {200, 403}
    issuer.server.reset()
    assert issuer.server.events == ()
    issuer.linked()


def test_a_reset_restores_the_initial_state(issuer: LiveIssuer) -> None:
    (first,) = kids(issuer)
    tokens = issuer.linked(scope="openid read:devices offline_access")
    device, denied = issuer.device(), issuer.device()
    issuer.server.deny(denied["user_code"])
    person = issuer.person()
    person.open("/account/devices")
    person.log_in()
    assert "Device App" in person.page.text
    for _ in range(5):
        person.open("/activate", user_code="WRON-GCOD")
    issuer.server.rotate_keys()
    issuer.server.withdraw_key(first)
    issuer.server.jwks_fault(status=500)
    issuer.server.clock.advance(60)
    issuer.server.script(outcome="approve")

    issuer.server.reset()

    assert issuer.server.events == ()
    assert kids(issuer) == [first]
    issuer.verify(tokens["access_token"])  # signed with the first key
    assert issuer.server.clock() == issuer.clock.now
    for response in (issuer.poll(device), issuer.poll(denied), issuer.refresh(tokens["refresh_token"])):
        assert issuer.refused(response) == (403, "invalid_grant")
    assert "<h1>Log in</h1>" in person.open("/account/devices").text
    again = issuer.device()
    assert answers(issuer, again, 1) == [PENDING]  # no script
    # Wrong codes, sessions and consents are deleted.
    person.open("/activate", user_code=again["user_code"])
    person.send(answer="yes")
    assert "<h1>Log in</h1>" in person.page.text
    person.log_in()
    assert "<h1>Allow Device App" in person.page.text
