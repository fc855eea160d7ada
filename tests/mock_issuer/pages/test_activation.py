"""The activation pages: from the code to the result, wrong codes, CSRF, escaping and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mock_issuer import Api, Config, create_app
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.kit.person import Person
    from tests.mock_issuer.conftest import LiveIssuer


def test_a_typed_code_leads_through_all_the_pages(issuer: LiveIssuer) -> None:
    device = issuer.device(scope="openid offline_access read:devices")
    person = issuer.person()
    assert "<h1>Connect a device</h1>" in person.open("/activate").text
    person.send(user_code=device["user_code"])
    assert "<h1>Does your device show this code?</h1>" in person.page.text
    assert device["user_code"] in person.page.text
    person.send(answer="yes")
    assert "<h1>Log in</h1>" in person.page.text
    person.log_in()
    assert "<h1>Allow Device App to use Device API?</h1>" in person.page.text
    for words in ("See your devices", "Know which account is yours", "Stay connected until you disconnect it"):
        assert f"<li>{words}</li>" in person.page.text
    assert "Logged in as <strong>Alice Example</strong>" in person.page.text
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")
    person.send(answer="allow")
    assert "<h1>Your device is connected</h1>" in person.page.text
    assert issuer.poll(device).status_code == 200


@pytest.mark.parametrize(
    ("old", "new"), [("-", ""), ("-", " "), ("-", "\u2013"), ("-", "\u00a0- "), ("-", "--")], ids=ascii
)
def test_case_spaces_and_dashes_are_ignored(issuer: LiveIssuer, old: str, new: str) -> None:
    person = issuer.person()
    person.open("/activate")
    person.send(user_code=issuer.device()["user_code"].lower().replace(old, new))
    assert "Does your device show this code?" in person.page.text


def test_full_width_letters_are_accepted(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/activate")
    wide = {narrow: narrow + 0xFEE0 for narrow in range(ord("!"), ord("~") + 1)}
    person.send(user_code=issuer.device()["user_code"].lower().translate(wide))
    assert "Does your device show this code?" in person.page.text


def test_every_page_shows_the_requesting_app_and_address(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.clock.advance(120)
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    for words in ("Device App", "127.0.0.1", "2 minutes ago"):
        assert words in person.page.text
    person.send(answer="yes")
    assert "Device App" in person.page.text
    person.log_in()
    for words in ("Device App", "127.0.0.1", "2 minutes ago"):
        assert words in person.page.text


def test_cancelling_the_confirmation_denies_the_request(issuer: LiveIssuer) -> None:
    device = issuer.device()
    assert "<h1>Nothing was connected</h1>" in issuer.person().refuse(device["user_code"]).text
    assert issuer.refused(issuer.poll(device)) == (403, "access_denied")


def test_refusing_the_consent_denies_the_request(issuer: LiveIssuer) -> None:
    device = issuer.device()
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    person.send(answer="yes")
    person.log_in()
    assert "<h1>Nothing was connected</h1>" in person.send(answer="deny").text
    assert issuer.refused(issuer.poll(device)) == (403, "access_denied")


def test_a_second_device_needs_only_the_confirmation(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.approve(issuer.device(scope="read:devices write:devices")["user_code"])
    device = issuer.device(scope="read:devices")
    person.open("/activate", user_code=device["user_code"])
    assert "Does your device show this code?" in person.page.text
    assert "Logged in as <strong>Alice Example</strong>" in person.page.text
    assert "Your device is connected" in person.send(answer="yes").text
    assert issuer.poll(device).status_code == 200


def test_more_scopes_need_a_new_consent(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.approve(issuer.device(scope="read:devices")["user_code"])
    person.open("/activate", user_code=issuer.device(scope="read:devices write:devices")["user_code"])
    assert "<h1>Allow Device App" in person.send(answer="yes").text


def test_consent_is_each_users_own(issuer: LiveIssuer) -> None:
    issuer.person().approve(issuer.device()["user_code"], "alice")
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    assert "<h1>Allow Device App" in person.log_in("bob").text


def test_an_app_without_scopes_needs_consent_too(
    make_issuer: Callable[[Config], LiveIssuer],
) -> None:
    issuer = make_issuer(Config(apis=(Api(audience="urn:api", name="Bare API"),)))
    person = issuer.person()
    for words in ("<h1>Allow Device App to use Bare API?</h1>", "<h1>Your device is connected</h1>"):
        device = issuer.device(audience="urn:api", scope="")
        person.open("/activate", user_code=device["user_code"])
        assert "What it asks for" not in person.page.text
        person.send(answer="yes")
        if "/login" in person.page.url:
            person.log_in()
            assert "It does not ask for specific permissions." in person.page.text
            assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")
        assert words in person.page.text
        if "/consent" in person.page.url:
            person.send(answer="allow")
        assert issuer.poll(device).json()["scope"] == ""


def test_another_account_can_be_used(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.approve(issuer.device()["user_code"], "alice")
    device = issuer.device(scope="openid read:devices")
    person.open("/activate", user_code=device["user_code"])
    person.send(answer="yes")
    person.send(1)
    assert "<h1>Log in</h1>" in person.page.text
    person.log_in("bob")
    person.send(answer="allow")
    assert issuer.verify(issuer.poll(device).json()["access_token"])[1]["sub"] == "mock|bob"


def test_a_tester_can_pick_a_user(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    assert "Logged in as <strong>Bob Example</strong>" in person.send(1, pick="bob").text


def test_picking_a_user_can_be_turned_off(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(pick_user=False))
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    assert "Or pick a test user" not in person.page.text
    assert person.send(pick="bob").status_code == 400


@pytest.mark.parametrize(("username", "password"), [("alice", "bob-password"), ("nobody", "x"), ("é", "é"), ("", "")])
def test_a_wrong_password_shows_an_error_beside_the_fields(issuer: LiveIssuer, username: str, password: str) -> None:
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    response = person.send(username=username, password=password)
    assert response.status_code == 400
    assert 'id="login-error" role="alert"' in response.text
    assert 'aria-describedby="login-error"' in response.text
    assert "Logged in" in person.log_in().text


def test_unknown_expired_used_and_refused_codes_get_the_same_answer(issuer: LiveIssuer) -> None:
    used, refused, expired = (issuer.device()["user_code"] for _ in range(3))
    issuer.person().approve(used)
    issuer.person().refuse(refused)
    issuer.clock.advance(900)
    answers = set()
    for code in (used, refused, expired, "WRON-GCOD"):
        person = issuer.person()
        person.open("/activate")
        response = person.send(user_code=code)
        page = response.text.replace(code, "")
        before, _, after = page.partition('name="csrf_token"')
        answers.add((response.status_code, before, after.partition(">")[2]))
        assert 'id="user_code-error" role="alert"' in page
        assert response.status_code == 400
    assert len(answers) == 1


def test_html_in_a_user_code_is_escaped(issuer: LiveIssuer) -> None:
    person = issuer.person()
    for response in (person.open("/activate", user_code='<script>"x"'), person.send(user_code='<script>"x"')):
        assert response.status_code == 400
        assert "<script" not in response.text
        assert "&lt;script&gt;&#34;x&#34;" in response.text


def test_get_requests_decide_nothing(issuer: LiveIssuer) -> None:
    device = issuer.device()
    person = issuer.person()
    person.approve(issuer.device()["user_code"])
    for path in ("", "/confirm", "/login", "/consent", "/logout", "/done"):
        person.open(f"/activate{path}", user_code=device["user_code"], answer="allow")
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")


@pytest.mark.parametrize("path", ["/login", "/consent"])
def test_no_page_skips_the_confirmation(issuer: LiveIssuer, path: str) -> None:
    device = issuer.device()
    person = issuer.person()
    person.approve(issuer.device()["user_code"])
    person.open(f"/activate{path}", user_code=device["user_code"])
    assert "Does your device show this code?" in person.page.text
    csrf_token = person.page.text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": csrf_token, "user_code": device["user_code"], "answer": "allow", "pick": "alice"}
    response = person.session.post(f"{issuer.url}activate{path}", data=form)
    assert "Does your device show this code?" in response.text
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")


def test_a_form_of_another_session_is_refused(issuer: LiveIssuer) -> None:
    device = issuer.device()
    person, other = issuer.person(), issuer.person()
    person.open("/activate", user_code=device["user_code"])
    other.open("/activate")
    other.page = person.page
    assert other.send(answer="no").status_code == 400
    assert person.send(answer="no", csrf_token="é").status_code == 400
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")


def test_a_form_from_before_the_log_in_is_refused_after_it(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    before = person.page.text.split('name="csrf_token" value="')[1].split('"')[0]
    person.log_in()
    assert "/consent" in person.page.url
    assert before not in person.page.text
    assert person.send(answer="allow", csrf_token=before).status_code == 400


def enter(person: Person, user_code: str) -> requests.Response:
    """Type a code into the form."""
    person.open("/activate")
    return person.send(user_code=user_code)


def test_five_wrong_codes_block_the_session_and_the_address(issuer: LiveIssuer) -> None:
    device = issuer.device()
    person = issuer.person()
    for _ in range(5):
        assert enter(person, "WRON-GCOD").status_code == 400
    for somebody in (person, issuer.person()):
        for response in (
            enter(somebody, device["user_code"]),
            somebody.open("/activate", user_code=device["user_code"]),
        ):
            assert response.status_code == 429
            assert response.headers.get("Retry-After") == "900"
            assert "Wait 15 minutes" in response.text
    issuer.clock.advance(899)
    assert enter(person, "WRON-GCOD").status_code == 429
    issuer.clock.advance(1)
    person.approve(issuer.device()["user_code"])


def test_the_limit_of_wrong_codes_is_a_setting(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(wrong_code_limit=7))
    person = issuer.person()
    statuses = [enter(person, "WRON-GCOD").status_code for _ in range(8)]
    assert statuses == [400] * 7 + [429]


def test_wrong_codes_are_counted_over_all_addresses() -> None:
    app = create_app()

    def enter_from(address: str) -> int:
        with app.test_client() as client:
            page = client.get("/activate").text
            form = {"user_code": "WRON-GCOD", "csrf_token": page.split('name="csrf_token" value="')[1].split('"')[0]}
            return client.post("/activate", data=form, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert {enter_from(f"192.0.2.{number}") for number in range(200)} == {400}
    assert enter_from("198.51.100.1") == 429


def test_images_on_other_sites_do_not_lock_a_right_code_out(issuer: LiveIssuer) -> None:
    device = issuer.device()
    for _ in range(6):
        # A browser sends no Lax cookie with an image of another site.
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
        assert issuer.get("/activate?user_code=WRON-GCOD", headers=headers).status_code in {200, 400}
    issuer.person().approve(device["user_code"], typed=True)
    person = issuer.person()
    # The link no longer tells whether its code is right; it fills the form in.
    code = issuer.device()["user_code"]
    assert "<h1>Connect a device</h1>" in person.open("/activate", user_code=code).text
    assert f'value="{code}"' in person.page.text
    person.send(user_code=code)
    assert "Does your device show this code?" in person.page.text
    person.send(answer="yes")
    person.log_in("bob")
    assert "Your device is connected" in person.send(answer="allow").text


def test_links_with_wrong_codes_are_limited_so_that_they_cannot_be_guessed(issuer: LiveIssuer) -> None:
    def looks(path: str, code: str) -> str:
        page = issuer.get(path, params={"user_code": code}).text.replace(code, "")
        before, _, after = page.partition('name="csrf_token"')
        return before + after.partition(">")[2]

    for _ in range(5):
        assert issuer.get("/activate?user_code=WRON-GCOD").status_code == 400
    right = issuer.device()["user_code"]
    for path in ("/activate", "/activate/login", "/activate/consent"):
        assert looks(path, right) == looks(path, "WRON-GCOD")
    issuer.clock.advance(900)
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    assert "Does your device show this code?" in person.page.text


def test_a_log_in_page_tells_nothing_about_a_code_that_was_not_confirmed(issuer: LiveIssuer) -> None:
    right = issuer.device()["user_code"]
    for path in ("/activate/login", "/activate/consent"):
        for code in (right, "WRON-GCOD"):
            response = issuer.get(path, params={"user_code": code}, allow_redirects=False)
            assert (response.status_code, response.headers["Location"]) == (302, f"/activate?user_code={code}")


ODD = ['a"b', "é\\", "\x00", "\ud7ff", "' OR 1=1", "x" * 5000]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_values_in_every_field_cause_no_server_error(issuer: LiveIssuer, odd: str) -> None:
    person = issuer.person()
    code = issuer.device()["user_code"]
    person.open("/activate")
    assert person.send(user_code=odd).status_code == 400
    person.open("/activate", user_code=code)
    assert person.send(answer="yes", user_code=odd).status_code == 400
    person.open("/activate", user_code=code)
    person.send(answer="yes")
    assert person.send(username=odd, password=odd).status_code == 400
    assert person.send(pick=odd).status_code == 400
    person.log_in()
    assert "Nothing was connected" in person.send(answer=odd).text


def test_pages_have_security_headers(issuer: LiveIssuer) -> None:
    person = issuer.person()
    for response in (person.open("/activate"), person.open("/activate/nothing"), issuer.get("/activate/done")):
        assert "text/html" in header_of(response, "Content-Type")
        policy = header_of(response, "Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers.get("Referrer-Policy") == "no-referrer"
        assert response.headers.get("Cache-Control") == "no-store"
        assert response.headers.get("X-Content-Type-Options") == "nosniff"
        assert "<script" not in response.text
        assert " style=" not in response.text
        assert response.text.count("<h1>") == 1
    cookie = header_of(issuer.get("/activate"), "Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_the_result_page_needs_a_result(issuer: LiveIssuer) -> None:
    person = issuer.person()
    assert "Connect a device" in person.open("/activate/done").text


def test_redirects_stay_on_the_issuer(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"], next="https://evil.example/")
    person.send(answer="yes", next="https://evil.example/")
    assert person.page.url.startswith(issuer.url)
    for step in person.page.history:
        assert header_of(step, "Location").startswith("/activate")


def test_two_issuers_on_one_host_share_no_session(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    # Browsers share cookies between the ports of a host.
    one, other = make_issuer(Config()), make_issuer(Config())
    person = one.person()
    person.open("/account/devices")
    page = person.page
    person.open(other.url + "account/devices")
    person.log_in("bob")
    assert "Bob Example" in person.page.text
    person.page = page
    assert "Alice Example" in person.log_in().text
    assert "Bob Example" in person.open(other.url + "account/devices").text


def test_style_and_icon_are_served(issuer: LiveIssuer) -> None:
    assert header_of(issuer.get("/static/pages.css"), "Content-Type").startswith("text/css")
    assert header_of(issuer.get("/static/icon.svg"), "Content-Type").startswith("image/svg+xml")
