from mock_issuer import Config
from mock_issuer.flow.issuer import get_issuer
from mock_issuer.oauth.app import create_oauth_app

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
