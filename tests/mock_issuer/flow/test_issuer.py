import pytest

from mock_issuer import Config
from mock_issuer.flow.issuer import JwksFault, get_issuer
from mock_issuer.flow.records import Access, CodeRequest
from mock_issuer.oauth.app import create_oauth_app
from mock_issuer.rules import ExtraClaims

DEVICE = {"client_id": "device-app", "scope": "openid"}


def test_users_enter_codes_below_the_issuer_or_elsewhere() -> None:
    below = create_oauth_app(Config(issuer="https://issuer.example/tenant/"))
    elsewhere = create_oauth_app(Config(verification_uri="http://192.168.1.5:9000/activate"))
    for app, page in (
        (below, "https://issuer.example/tenant/activate"),
        (elsewhere, "http://192.168.1.5:9000/activate"),
    ):
        code = app.test_client().post("/oauth/device/code", data=DEVICE).get_json()
        assert code["verification_uri"] == page == get_issuer(app).verification_uri
        assert code["verification_uri_complete"] == f"{page}?user_code={code['user_code']}"


def test_the_userinfo_endpoint_is_an_api_with_the_scope_openid() -> None:
    api = get_issuer(create_oauth_app(Config(issuer="https://issuer.example/tenant/"))).userinfo_api
    assert (api.audience, set(api.scopes)) == ("https://issuer.example/tenant/userinfo", {"openid"})


def test_a_removed_user_is_known_as_one_until_the_users_are_restored() -> None:
    issuer = get_issuer(create_oauth_app(Config()))
    alice, bob = issuer.config.users
    subs = (alice.sub, bob.sub, "unknown", None)
    assert not any(issuer.was_removed(sub) for sub in subs)
    issuer.remove_user(alice)
    assert [user.username for user in issuer.config.users] == ["bob"]
    assert [issuer.was_removed(sub) for sub in subs] == [True, False, False, False]
    issuer.restore_users()
    assert [user.username for user in issuer.config.users] == ["alice", "bob"]
    assert not any(issuer.was_removed(sub) for sub in subs)


def test_a_removed_user_has_no_consents_any_more() -> None:
    issuer = get_issuer(create_oauth_app(Config()))
    access = Access(audience="https://a.example", scopes=("read",))
    request = CodeRequest(
        client_id="device-app", redirect_uri="", access=access, code_challenge="", nonce="", key_thumbprint=""
    )
    alice, bob = issuer.config.users
    for user in (alice, bob):
        issuer.state.issue_code(request, user=user, auth_time=0, claims=ExtraClaims(), now=0)
    issuer.remove_user(alice)
    assert [issuer.state.has_consent(user.sub, request) for user in (alice, bob)] == [False, True]


@pytest.mark.parametrize(
    ("fault", "description"),
    [
        (JwksFault(), ""),
        (
            JwksFault(status=503, delay_seconds=1.5, body="", redirect=""),
            "status 503, delay of 1.5 s, another body, redirect",
        ),
    ],
)
def test_a_fault_in_words(fault: JwksFault, description: str) -> None:
    assert fault.description == description


def test_an_event_has_the_name_of_a_configured_client() -> None:
    issuer = get_issuer(create_oauth_app(Config()))
    issuer.log_event("fede", client_id="device-app")
    issuer.log_event("fede", client_id="unknown")
    issuer.log_event("fu")
    clients = [(event.client_id, event.client_name) for event in issuer.events.all()]
    assert clients == [("device-app", "Device App"), ("unknown", ""), ("", "")]
