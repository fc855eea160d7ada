"""The account pages: log in, see the linked devices, unlink one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mock_issuer import Client, Config
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kit.person import Person
    from tests.mock_issuer.conftest import LiveIssuer

SCOPE = "openid read:devices offline_access"


def logged_in(issuer: LiveIssuer, name: str = "alice") -> Person:
    person = issuer.person()
    person.open("/account")
    assert person.page.url == issuer.url + "account/devices"
    assert "<h1>Log in</h1>" in person.page.text
    person.log_in(name)
    assert "<h1>Your devices</h1>" in person.page.text
    return person


def test_a_person_logs_in_and_sees_their_devices(issuer: LiveIssuer) -> None:
    person = logged_in(issuer)
    assert "No device is linked to your account." in person.page.text
    issuer.linked(scope=SCOPE)
    page = person.open("/account/devices").text
    assert page.count('value="') == 3  # two CSRF tokens and one device
    for words in ("Device App", "Linked <time", "Last used <time", "from 127.0.0.1", "Alice Example", "Unlink"):
        assert words in page


def test_only_devices_that_stay_connected_are_listed(issuer: LiveIssuer) -> None:
    issuer.linked(scope="read:devices")
    assert "No device is linked" in logged_in(issuer).page.text


def test_linked_and_last_used_times(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    linked = person.page.text
    issuer.clock.advance(86_400)
    issuer.refresh(tokens["refresh_token"])
    used = person.open("/account/devices").text

    def times(page: str) -> list[str]:
        return [part.partition('"')[0] for part in page.split('<time datetime="')[1:]]

    assert times(linked)[0] == times(linked)[1] == times(used)[0]
    assert times(used)[1] > times(used)[0]


def test_unlinking_revokes_the_refresh_token_but_no_access_token(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    status = {"auth0": 403, "rfc": 400}[issuer.server.config.profile]
    tokens, other = issuer.linked(scope=SCOPE), issuer.linked(scope=SCOPE)
    renewed = issuer.refresh(other["refresh_token"]).json()
    person = logged_in(issuer)
    newest_first = person.send(0)
    assert newest_first.url == issuer.url + "account/devices"
    assert "<strong>Device App</strong> is unlinked." in newest_first.text
    assert newest_first.text.count(">Unlink<") == 1
    headers = {"Authorization": f"Bearer {renewed['access_token']}"}
    assert issuer.get("/userinfo", headers=headers).json() == {"sub": "mock|alice"}
    for ended in (renewed["refresh_token"], other["refresh_token"]):
        assert issuer.refused(issuer.refresh(ended)) == (status, "invalid_grant")
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200
    assert "is unlinked" not in person.open("/account/devices").text  # shown once
    (event,) = [event for event in issuer.server.events if event.type == "srrt"]
    assert (event.user_id, event.client_id, event.ip) == ("mock|alice", "device-app", "127.0.0.1")


def test_a_device_is_unlinked_once(issuer: LiveIssuer) -> None:
    issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    page = person.page
    person.send(0)
    person.page = page
    assert "is unlinked" not in person.send(0).text
    assert [event.type for event in issuer.server.events].count("srrt") == 1


def test_a_device_that_was_revoked_or_reused_a_token_is_not_listed(issuer: LiveIssuer) -> None:
    revoked, replayed = issuer.linked(scope=SCOPE), issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    assert person.page.text.count(">Unlink<") == 2
    issuer.post("/oauth/revoke", {"client_id": "device-app", "token": revoked["refresh_token"]})
    issuer.refresh(replayed["refresh_token"])
    issuer.refresh(replayed["refresh_token"])
    assert "No device is linked" in person.open("/account/devices").text


def test_a_user_cannot_unlink_another_users_device(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope=SCOPE)
    alice, bob = logged_in(issuer), logged_in(issuer, "bob")
    assert "Unlink" not in bob.page.text
    device = alice.page.text.split('name="device" value="')[1].partition('"')[0]
    csrf_token = bob.page.text.split('name="csrf_token" value="')[1].partition('"')[0]
    visitor = issuer.person()
    visitor_token = visitor.open("/account/devices").text.split('name="csrf_token" value="')[1].partition('"')[0]
    for somebody, token in ((bob, csrf_token), (visitor, visitor_token)):
        form = {"csrf_token": token, "device": device}
        response = somebody.session.post(issuer.url + "account/unlink", data=form, timeout=10)
        assert (response.status_code, "is unlinked" in response.text) == (200, False)
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200
    assert "srrt" not in [event.type for event in issuer.server.events]


@pytest.mark.parametrize("path", ["unlink", "login", "logout"])
def test_a_form_of_another_session_is_refused(issuer: LiveIssuer, path: str) -> None:
    tokens = issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    device = person.page.text.split('name="device" value="')[1].partition('"')[0]
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "é"}, {"csrf_token": "x" * 22}):
        form = {"device": device, "pick": "bob", **token}
        response = person.session.post(f"{issuer.url}account/{path}", data=form, timeout=10)
        assert response.status_code == 400
        assert "This form has expired" in response.text
        assert 'href="/account/devices"' in response.text
    assert "Alice Example" in person.open("/account/devices").text
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_get_requests_change_nothing(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    device = person.page.text.split('name="device" value="')[1].partition('"')[0]
    for path in ("unlink", "login", "logout"):
        response = person.open(f"/account/{path}", device=device, pick="bob")
        assert (response.status_code, "text/html" in header_of(response, "Content-Type")) == (405, True)
    assert "Alice Example" in person.open("/account/devices").text
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


def test_a_wrong_password_shows_an_error_beside_the_fields(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/account/devices")
    response = person.send(username="alice", password="wrong")
    assert response.status_code == 400
    assert 'id="login-error" role="alert"' in response.text
    assert 'value="alice"' in response.text
    assert "wrong" not in response.text.replace("is wrong", "")
    assert "Your devices" in person.log_in().text


def test_a_tester_can_pick_a_user_unless_pick_user_is_off(
    issuer: LiveIssuer, make_issuer: Callable[[Config], LiveIssuer]
) -> None:
    person = issuer.person()
    person.open("/account/devices")
    assert "Bob Example" in person.send(1, pick="bob").text
    person = make_issuer(Config(pick_user=False)).person()
    assert "Or pick a test user" not in person.open("/account/devices").text
    assert person.send(pick="bob").status_code == 400


def test_a_session_serves_both_the_account_and_the_activation(issuer: LiveIssuer) -> None:
    person = logged_in(issuer)
    device = issuer.device(scope=SCOPE)
    person.open("/activate", user_code=device["user_code"])
    assert "<h1>Allow Device App" in person.send(answer="yes").text
    person.send(answer="allow")
    issuer.poll(device)
    assert ">Unlink<" in person.open("/account/devices").text


def test_logging_out_ends_the_session(issuer: LiveIssuer) -> None:
    issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    devices = person.page
    assert "<h1>Log in</h1>" in person.send(1).text
    assert "<h1>Log in</h1>" in person.open("/account/devices").text
    person.page = devices
    assert "is unlinked" not in person.send(0).text
    person.send(1)
    assert [event.type for event in issuer.server.events].count("slo") == 1  # the second time, no user was logged in


def test_sessions_end_at_a_reset(issuer: LiveIssuer) -> None:
    person = logged_in(issuer)
    issuer.server.reset()
    assert "<h1>Log in</h1>" in person.open("/account/devices").text
    issuer.linked(scope=SCOPE)
    person.log_in()
    assert ">Unlink<" in person.page.text


def test_html_in_a_client_name_is_escaped(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(clients=(Client(client_id="device-app", name='<script>"x"'),)))
    issuer.linked(scope=SCOPE)
    person = logged_in(issuer)
    for page in (person.page.text, person.send(0).text):
        assert "<script" not in page
        assert "&lt;script&gt;&#34;x&#34;" in page


def test_pages_have_security_headers(issuer: LiveIssuer) -> None:
    person = logged_in(issuer)
    for response in (person.page, issuer.get("/account/devices"), issuer.get("/account/nothing")):
        assert "default-src 'none'" in header_of(response, "Content-Security-Policy")
        assert response.headers.get("Cache-Control") == "no-store"
        assert response.headers.get("Referrer-Policy") == "no-referrer"
        assert response.headers.get("X-Frame-Options") == "DENY"
        assert "<script" not in response.text
        assert " style=" not in response.text
        assert response.text.count("<h1>") == 1
