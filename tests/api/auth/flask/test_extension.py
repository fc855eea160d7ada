"""`require_auth` on everything that Flask calls a view, and what it asks of tokens there."""

import functools
import inspect
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from flask.views import MethodView, View
from werkzeug.http import parse_dict_header
from werkzeug.test import TestResponse

from api.auth import (
    AccessToken,
    Auth,
    AuthConfig,
    AuthEvents,
    ConfigError,
    MissingCredentials,
    Reason,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
    current_token,
    open_to_all,
    require_auth,
    requirements_of,
)
from api.auth.keys.fetch import Fetched
from tests.kit.headers import header_of
from tests.kit.signing import AUDIENCE, ISSUER, SigningKey, claims, jwks, rsa_key

OTHER_ISSUER = "https://other-issuer.example/"
KEY, OTHER_KEY = rsa_key(0), rsa_key(1)
NOW = 1_800_000_000.0


class Heard(AuthEvents):
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def token_accepted(self, *, from_cache: bool) -> None:
        self.outcomes.append("hit" if from_cache else "accepted")

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.outcomes.append(reason.value)


@pytest.fixture
def events() -> Heard:
    return Heard()


@pytest.fixture
def app(events: Heard) -> Flask:
    sets = {f"{ISSUER}keys": jwks(KEY), f"{OTHER_ISSUER}keys": jwks(OTHER_KEY)}
    issuers = tuple(
        TrustedIssuer(identifier=identifier, audiences=(AUDIENCE,), jwks_url=f"{identifier}keys")
        for identifier in (ISSUER, OTHER_ISSUER)
    )
    verifier = TokenVerifier(
        AuthConfig(issuers=issuers),
        events=events,
        fetch=lambda url, _timeout_seconds: Fetched(sets[url], None),
        now=lambda: NOW,
    )
    app = Flask(__name__)
    Auth(verifier, realm="tests", resource_url="https://api.example").init_app(app)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def bearer(key: SigningKey = KEY, **changes: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.sign(claims(NOW, **changes))}"}


def challenge(response: TestResponse) -> dict[str, str | None]:
    (value,) = response.headers.getlist("WWW-Authenticate")
    assert value.startswith("Bearer ")
    return parse_dict_header(value.removeprefix("Bearer "))


def who() -> str:
    return current_token.subject if current_token else "nobody"


# --- Kinds of views ---------------------------------------------------------------------------------------------------


def test_a_function(app: Flask, client: FlaskClient) -> None:
    @app.get("/<int:number>")
    @require_auth("read:devices")
    def view(number: int) -> str:
        return f"{who()} {number}"

    assert client.get("/7").status_code == 401
    assert client.get("/7", headers=bearer(scope="other")).status_code == 403
    assert client.get("/7", headers=bearer()).text == "user-1 7"
    assert view.__name__ == "view"


def test_the_answer_without_an_application_s_own(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", view_func=require_auth("read:devices")(who))
    response = client.get("/", headers=bearer(scope="other"))
    assert response.json == {
        "error": "insufficient_scope",
        "error_description": "The access token lacks a scope that this needs.",
        "scope": "read:devices",
    }
    assert response.headers.get("Cache-Control") == "no-store"
    # RFC 6750 §3.1: no error code where no credentials came.
    assert client.get("/").json == {"error_description": "This needs an access token in the Authorization header."}
    assert challenge(response) == {
        "realm": "tests",
        "error": "insufficient_scope",
        "error_description": "The access token lacks a scope that this needs.",
        "scope": "read:devices",
    }


def test_head_is_checked_as_get_is_and_options_is_open(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", view_func=require_auth()(who))
    head = client.head("/")
    assert head.status_code == 401
    assert challenge(head)["realm"] == "tests"
    assert client.head("/", headers=bearer()).status_code == 200
    options = client.options("/")
    assert options.status_code == 200
    assert options.allow.as_set() == {"get", "head", "options"}


def test_an_async_view_stays_one(app: Flask) -> None:
    """Without asgiref, which is not pinned, Flask runs no coroutine: so this runs it, by hand and without a loop."""

    @require_auth()
    async def view(number: int) -> str:  # what is tested is that it may
        return f"{who()} {number}"

    assert inspect.iscoroutinefunction(view)
    with app.test_request_context("/", headers=bearer()), pytest.raises(StopIteration) as returned:
        view(7).send(None)
    assert returned.value.value == "user-1 7"
    with app.test_request_context("/"), pytest.raises(MissingCredentials):
        view(7).send(None)


def test_an_async_partial_stays_a_coroutine_function() -> None:
    async def view(number: int) -> str:
        return str(number)

    assert inspect.iscoroutinefunction(require_auth()(functools.partial(view, 7)))


@pytest.mark.needs("asgiref")  # Flask runs async views with it
def test_an_async_view_under_flask(app: Flask, client: FlaskClient) -> None:
    @app.get("/")
    @require_auth()
    async def view() -> str:
        return who()

    # In a thread without an event loop, as a server's are: Playwright's runs in this one once it was used.
    with ThreadPoolExecutor() as pool:
        assert pool.submit(client.get, "/").result().status_code == 401
        assert pool.submit(client.get, "/", headers=bearer()).result().text == "user-1"


def test_a_generator_s_body_does_not_run_before_the_check(app: Flask, client: FlaskClient) -> None:
    ran = []

    @app.get("/")
    @require_auth()
    def view() -> Any:
        ran.append(1)
        yield "text"

    assert client.get("/").status_code == 401
    assert ran == []
    assert client.get("/", headers=bearer()).text == "text"


def test_a_class_of_methods(app: Flask, client: FlaskClient) -> None:
    @require_auth("read:devices")
    class Devices(MethodView):
        def get(self, number: int) -> str:
            return f"get {who()} {number}"

        @require_auth("write:devices")
        def post(self, number: int) -> str:
            return f"post {who()} {number}"

    app.add_url_rule("/<int:number>", view_func=Devices.as_view("devices"))
    assert client.get("/7").status_code == 401
    assert client.head("/7").status_code == 401
    assert client.get("/7", headers=bearer(scope="other")).status_code == 403
    assert client.get("/7", headers=bearer()).text == "get user-1 7"
    assert challenge(client.post("/7", headers=bearer()))["scope"] == "write:devices"
    assert client.post("/7", headers=bearer(scope="read:devices write:devices")).text == "post user-1 7"
    assert client.post("/7", headers=bearer(scope="write:devices")).status_code == 403
    assert client.options("/7").status_code == 200


def test_a_subclass_is_protected_too(app: Flask, client: FlaskClient) -> None:
    @require_auth()
    class Base(View):
        def dispatch_request(self) -> str:
            return who()

    class Derived(Base):
        pass

    @open_to_all
    class Open(View):
        def dispatch_request(self) -> str:
            return "open"

    app.add_url_rule("/derived", view_func=Derived.as_view("derived"))
    app.add_url_rule("/open", view_func=Open.as_view("open"))
    assert client.get("/derived").status_code == 401
    assert client.get("/derived", headers=bearer()).text == "user-1"
    assert client.get("/open").text == "open"
    assert View.decorators == []


def test_a_class_is_checked_before_its_other_decorators(app: Flask, client: FlaskClient) -> None:
    ran = []

    def noted(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            ran.append(1)
            return view(*args, **kwargs)

        return wrapper

    @require_auth()
    class Noted(View):
        decorators = (noted,)  # type: ignore[assignment]  # Flask iterates over it

        def dispatch_request(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Noted.as_view("noted"))
    assert client.get("/").status_code == 401
    assert ran == []
    assert client.get("/", headers=bearer()).text == "user-1"


@pytest.fixture
def nested(app: Flask) -> Flask:
    outer = require_auth()(Blueprint("outer", __name__, url_prefix="/outer"))
    inner = require_auth("read:devices")(Blueprint("inner", __name__, url_prefix="/inner"))
    beside = Blueprint("beside", __name__, url_prefix="/beside")
    outer.add_url_rule("/", "view", who)
    inner.add_url_rule("/", "view", who)
    inner.add_url_rule("/more", "more", require_auth("write:devices")(who))
    beside.add_url_rule("/", "view", open_to_all(who))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(beside)
    return app


def test_a_blueprint_and_those_within_it(nested: Flask) -> None:
    client = nested.test_client()
    assert client.get("/outer/").status_code == 401
    assert client.head("/outer/").status_code == 401
    assert client.get("/outer/", headers=bearer(scope="other")).text == "user-1"
    assert client.get("/outer/inner/").status_code == 401
    assert client.get("/outer/inner/", headers=bearer(scope="other")).status_code == 403
    assert client.get("/outer/inner/", headers=bearer()).text == "user-1"
    assert challenge(client.get("/outer/inner/more", headers=bearer()))["scope"] == "write:devices"
    assert client.get("/outer/inner/more", headers=bearer(scope="read:devices write:devices")).text == "user-1"
    assert client.get("/beside/").text == "nobody"


@pytest.mark.parametrize("path", ["/outer/", "/outer/inner/", "/outer/inner/more"])
def test_options_is_open_in_a_blueprint_too(nested: Flask, path: str) -> None:
    # A browser's preflight carries no credentials (Fetch §3.2.1): with a 401 no browser would ever call the API.
    assert nested.test_client().options(path).status_code == 200


def test_an_options_view_of_one_s_own_is_checked(app: Flask, client: FlaskClient) -> None:
    blueprint = require_auth()(Blueprint("all", __name__))
    blueprint.add_url_rule("/blueprint", "options", who, methods=["OPTIONS"])
    app.register_blueprint(blueprint)
    app.add_url_rule("/function", "options", require_auth()(who), methods=["OPTIONS"])
    assert client.options("/blueprint").status_code == 401
    assert client.options("/function").status_code == 401
    assert client.options("/blueprint", headers=bearer()).text == "user-1"


def test_a_blueprint_that_is_registered_already_is_refused(app: Flask) -> None:
    late = Blueprint("late", __name__)
    app.register_blueprint(late)
    with pytest.raises(AssertionError):
        require_auth()(late)


def test_stacked(app: Flask, client: FlaskClient, events: Heard) -> None:
    @app.get("/")
    @require_auth("read:devices")
    @require_auth("read:readings", optional=True)
    def view() -> str:
        return who()

    assert client.get("/").status_code == 401
    assert challenge(client.get("/", headers=bearer(scope="read:devices")))["scope"] == "read:readings"
    assert challenge(client.get("/", headers=bearer(scope="read:readings")))["scope"] == "read:devices"
    assert client.get("/", headers=bearer()).text == "user-1"
    assert events.outcomes == ["no_credentials", "accepted", "scope", "scope", "accepted", "hit"]


def test_without_auth_on_the_application_nobody_gets_in() -> None:
    app = Flask("bare")
    app.add_url_rule("/", view_func=require_auth(optional=True)(who))
    assert app.test_client().get("/", headers=bearer()).status_code == 500
    app.testing = True
    with pytest.raises(RuntimeError, match="needs Auth"):
        app.test_client().get("/", headers=bearer())


# --- optional=True and current_token ----------------------------------------------------------------------------------


def test_optional(app: Flask, client: FlaskClient, events: Heard) -> None:
    app.add_url_rule("/", view_func=require_auth("read:devices", optional=True)(who))
    assert client.get("/").text == "nobody"
    assert client.get("/", headers={"Authorization": "Basic dTpw"}).text == "nobody"
    assert client.get("/?access_token=x").text == "nobody"
    assert events.outcomes == []
    assert client.get("/", headers=bearer()).text == "user-1"
    assert client.get("/", headers=bearer(scope="other")).status_code == 403
    assert challenge(client.get("/", headers=bearer(exp=1)))["error"] == "invalid_token"
    assert client.get("/", headers={"Authorization": "Bearer x"}).status_code == 401
    assert client.get("/", headers={"Authorization": "Bearer"}).status_code == 400
    assert client.get("/?access_token=x", headers=bearer()).status_code == 400


def test_current_token_is_a_frozen_access_token(app: Flask) -> None:
    app.add_url_rule("/", view_func=require_auth()(who))
    with app.test_client() as client:
        client.get("/", headers=bearer())
        assert isinstance(current_token, AccessToken)
        assert current_token
        assert current_token.scopes == frozenset({"read:devices", "read:readings"})
        assert current_token.claims["sub"] == "user-1"
        current_token.claims["sub"] = "admin"
        assert current_token.claims["sub"] == "user-1"
        with pytest.raises(AttributeError):
            current_token.subject = "admin"  # type: ignore[misc]  # that it is read-only is what is tested


def test_current_token_is_false_and_explains_itself_where_there_is_none(app: Flask) -> None:
    assert not current_token
    with pytest.raises(RuntimeError, match="no token: current_token is set in views"):
        _ = current_token.subject
    with app.test_request_context("/"):
        assert not current_token
        with pytest.raises(RuntimeError, match="no token"):
            _ = current_token.subject


def test_no_token_stays_for_the_next_request(app: Flask, client: FlaskClient) -> None:
    # Under an application context of a test's or a script's own, Flask gives all requests one `g`.
    app.add_url_rule("/", view_func=require_auth(optional=True)(who))
    app.add_url_rule("/open", endpoint="open", view_func=open_to_all(who))
    with app.app_context():
        assert client.get("/", headers=bearer()).text == "user-1"
        assert client.get("/").text == "nobody"
        assert client.get("/", headers=bearer()).text == "user-1"
        assert client.get("/open").text == "nobody"
        assert client.get("/", headers=bearer()).text == "user-1"
        assert client.get("/", headers=bearer(sub="user-2", exp=1)).status_code == 401
        assert not current_token


def test_a_refused_token_is_no_current_token(app: Flask) -> None:
    app.add_url_rule("/", view_func=require_auth("admin")(who))
    with app.test_client() as client:
        assert client.get("/", headers=bearer()).status_code == 403
        assert not current_token


# --- What is asked of a token -----------------------------------------------------------------------------------------


def ask(app: Flask, headers: dict[str, str], *scopes: str, **requirement: Any) -> TestResponse:
    """Return what a view with this requirement answers."""
    app.add_url_rule("/asked", view_func=require_auth(*scopes, **requirement)(who))
    return app.test_client().get("/asked", headers=headers)


@pytest.mark.parametrize(
    ("scopes", "any_of", "granted", "missing"),
    [
        (("a", "b"), (), "a b c", None),
        (("a", "b"), (), "a", "a b"),
        (("a", "b"), (), "c", "a b"),
        ((), ("a", "b"), "b", None),
        ((), ("a", "b"), "a", None),
        ((), ("a", "b"), "ab", "a"),
        ((), ("a", "b"), "c", "a"),
        (("a",), ("b", "c"), "a c", None),
        (("a",), ("b", "c"), "a", "a b"),
        (("a",), ("b", "c"), "b c", "a b"),
        ((), {"a": 1}, "a", None),
    ],
)
def test_scopes(app: Flask, scopes: tuple[str, ...], any_of: Any, granted: str, missing: str | None) -> None:
    options = {"any_of": any_of} if any_of else {}
    response = ask(app, bearer(scope=granted), *scopes, **options)
    assert response.status_code == (200 if missing is None else 403)
    if missing is not None:
        assert challenge(response)["scope"] == missing


@pytest.mark.parametrize(
    ("audience", "aud", "status"),
    [
        ("urn:other", "urn:other", 200),
        ("urn:other", AUDIENCE, 401),  # instead of the configured one
        ("urn:other", ["x", "urn:other"], 200),
        (["urn:other", AUDIENCE], AUDIENCE, 200),
        (["urn:other", AUDIENCE], "urn:othe", 401),
        (None, "urn:other", 401),
        (None, AUDIENCE, 200),
    ],
)
def test_audience(app: Flask, audience: Any, aud: Any, status: int) -> None:
    response = ask(app, bearer(aud=aud), audience=audience)
    assert response.status_code == status
    if status == 401:
        assert challenge(response)["error"] == "invalid_token"


def test_the_audience_is_asked_of_remembered_tokens_too(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/ours", "ours", require_auth()(who))
    app.add_url_rule("/other", "other", require_auth(audience="urn:other")(who))
    token = bearer(aud="urn:other")
    assert [client.get(path, headers=token).status_code for path in ("/other", "/ours", "/other")] == [200, 401, 200]


@pytest.mark.parametrize(
    ("issuer", "key", "iss", "status"),
    [
        (ISSUER, KEY, ISSUER, 200),
        (ISSUER, OTHER_KEY, OTHER_ISSUER, 401),
        ([ISSUER, OTHER_ISSUER], OTHER_KEY, OTHER_ISSUER, 200),
        (ISSUER[:-1], KEY, ISSUER, 401),
        (None, OTHER_KEY, OTHER_ISSUER, 200),
        (None, KEY, OTHER_ISSUER, 401),
        ("https://stranger.example/", KEY, "https://stranger.example/", 401),  # narrows, and never widens
    ],
)
def test_issuer(app: Flask, issuer: Any, key: SigningKey, iss: str, status: int) -> None:
    response = ask(app, bearer(key, iss=iss), issuer=issuer)
    assert response.status_code == status
    if status == 401:
        assert challenge(response)["error"] == "invalid_token"


@pytest.mark.parametrize(
    ("wanted", "changes", "status"),
    [
        ({"org": "a"}, {"org": "a"}, 200),
        ({"org": "a"}, {"org": "b"}, 403),
        ({"org": "a"}, {}, 403),
        ({"org": "a"}, {"org": ["a"]}, 403),
        ({"level": 1}, {"level": True}, 403),  # true is not 1 in JSON
        ({"level": True}, {"level": 1}, 403),
        ({"verified": True}, {"verified": True}, 200),
        ({"verified": True}, {"verified": "true"}, 403),
        ({"org": "a", "level": 3}, {"org": "a", "level": 3}, 200),
        ({"org": "a", "level": 3}, {"org": "a", "level": 2}, 403),
        ({"level": lambda value: isinstance(value, int) and value >= 3}, {"level": 3}, 200),
        ({"level": lambda value: isinstance(value, int) and value >= 3}, {"level": 2}, 403),
        ({"level": lambda value: isinstance(value, int) and value >= 3}, {}, 403),
        ({"roles": lambda value: "admin" in value}, {"roles": ["admin"]}, 200),
        ({"sub": "user-1"}, {}, 200),
    ],
)
def test_claims(app: Flask, wanted: dict[str, Any], changes: dict[str, Any], status: int) -> None:
    response = ask(app, bearer(**changes), "read:devices", claims=wanted)
    assert response.status_code == status
    if status == 403:
        assert challenge(response)["error"] == "insufficient_scope"
        assert "org" not in header_of(response, "WWW-Authenticate")


@pytest.mark.parametrize(
    ("auth_time", "max_age", "status"),
    [
        (NOW, 0, 200),
        (NOW - 60, 60, 200),
        (NOW - 90, 60, 200),  # leeway 30 s
        (NOW - 91, 60, 401),
        (NOW - 3600.5, 60, 401),
        (None, 60, 401),
        (None, 0, 401),
    ],
)
def test_max_age(app: Flask, auth_time: float | None, max_age: int, status: int) -> None:
    response = ask(app, bearer(auth_time=auth_time), max_age=max_age)
    assert response.status_code == status
    if status == 401:
        found = challenge(response)
        assert found["error"] == "insufficient_user_authentication"
        assert found["max_age"] == str(max_age)
        assert "acr_values" not in found
        assert response.json == {"error": found["error"], "error_description": found["error_description"]}


@pytest.mark.parametrize(
    ("acr", "status"), [("urn:gold", 200), ("urn:silver", 200), ("urn:bronze", 401), ("urn:gol", 401), (None, 401)]
)
def test_acr_values(app: Flask, acr: str | None, status: int) -> None:
    response = ask(app, bearer(acr=acr), acr_values=["urn:silver", "urn:gold"])
    assert response.status_code == status
    if status == 401:
        found = challenge(response)
        assert found["error"] == "insufficient_user_authentication"
        assert found["acr_values"] == "urn:silver urn:gold"
        assert "max_age" not in found


def test_a_step_up_challenge_says_all_that_is_needed(app: Flask) -> None:
    # RFC 9470 §3: otherwise the client would come back with a login that fails the other half.
    found = challenge(ask(app, bearer(auth_time=NOW, acr="urn:bronze"), acr_values=["urn:gold"], max_age=300))
    assert (found["acr_values"], found["max_age"]) == ("urn:gold", "300")


def test_scopes_are_asked_before_a_login(app: Flask) -> None:
    assert challenge(ask(app, bearer(scope="other"), "read:devices", max_age=0))["error"] == "insufficient_scope"


# --- A second token in the form ---------------------------------------------------------------------------------------

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def posted(app: Flask) -> FlaskClient:
    app.add_url_rule("/", view_func=require_auth()(who), methods=["POST"])
    app.add_url_rule("/optional", "optional", require_auth(optional=True)(who), methods=["POST"])
    return app.test_client()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"access_token=x"),
        (FORM, b"access_token="),
        (FORM, b"access_token"),
        (FORM, b"a=b&access_token="),
        (FORM, b"a=b&access_token=&c=d"),
        (FORM, b"a=\xff&access_token=x"),
        (FORM, b"%61ccess%5Ftoken=x"),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", b"access_token=x"),
    ],
)
def test_a_token_in_the_form_beside_the_header_is_refused(
    posted: FlaskClient, events: Heard, content_type: str, body: bytes
) -> None:
    # RFC 6750 §2: one method in each request.
    for path in ("/", "/optional"):
        response = posted.post(path, data=body, content_type=content_type, headers=bearer())
        assert response.status_code == 400
        assert challenge(response)["error"] == "invalid_request"
    assert events.outcomes == ["accepted", "several_methods", "hit", "several_methods"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b""),
        (FORM, b"token=x&my_access_token=x&access_token2=x&a=access_token"),
        ("text/plain", b"access_token=x"),
        ("application/json", b"access_token=x"),
        (None, b"access_token=x"),
    ],
)
def test_another_body_beside_the_header_is_accepted(posted: FlaskClient, content_type: str | None, body: bytes) -> None:
    assert posted.post("/", data=body, content_type=content_type, headers=bearer()).text == "user-1"


def test_a_form_without_a_header_is_not_read(posted: FlaskClient) -> None:
    assert posted.post("/optional", data=b"access_token=x", content_type=FORM).text == "nobody"
    assert posted.post("/", data=b"access_token=x", content_type=FORM).status_code == 401


class BrokenStream(io.RawIOBase):
    def read(self, _size: int = -1) -> bytes:
        raise OSError("the client closed the connection")


def test_a_form_that_cannot_be_read_is_refused(posted: FlaskClient, events: Heard) -> None:
    broken = {"wsgi.input": BrokenStream(), "CONTENT_LENGTH": "14"}
    response = posted.post("/", content_type=FORM, headers=bearer(), environ_overrides=broken)
    assert response.status_code == 400
    assert challenge(response)["error"] == "invalid_request"
    assert events.outcomes == ["accepted", "body_unreadable"]


def test_a_form_that_is_too_long_keeps_its_status(app: Flask, posted: FlaskClient) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    assert posted.post("/", data=b"a=" + b"b" * 10, content_type=FORM, headers=bearer()).status_code == 413


def test_admit_returns_the_token(app: Flask) -> None:
    auth: Auth = app.extensions["_bearer_auth"]
    with app.test_request_context("/", headers=bearer()):
        token = auth.admit(Requirement())
        assert token is not None
        assert token.subject == "user-1"
        assert current_token == token
    with app.test_request_context("/"):
        assert auth.admit(Requirement(optional=True)) is None


# --- Mistakes at import -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "options"),
    [
        ((print,), {}),  # @require_auth without parentheses
        ((None,), {}),
        ((7,), {}),
        ((b"read:devices",), {}),
        ((["read:devices"],), {}),
        (({"read:devices"},), {}),
        (("",), {}),
        ((" ",), {}),
        (("read:devices write:devices",), {}),
        (("read:devices ",), {}),
        (('read:"devices"',), {}),
        (("read:\\devices",), {}),
        (("read:dévices",), {}),
        (("read:devices\n",), {}),
        ((), {"any_of": "read:devices"}),
        ((), {"any_of": b"read:devices"}),
        ((), {"any_of": 7}),
        ((), {"any_of": [7]}),
        ((), {"any_of": [None]}),
        ((), {"any_of": [""]}),
        ((), {"any_of": ["a b"]}),
        ((), {"any_of": []}),  # one of none can never be met; taken for "anything goes", it opens the route
        ((), {"audience": ""}),
        ((), {"audience": []}),
        ((), {"audience": [""]}),
        ((), {"audience": [None]}),
        ((), {"audience": 7}),
        ((), {"audience": b"urn:api"}),
        ((), {"issuer": ""}),
        ((), {"issuer": []}),
        ((), {"issuer": [7]}),
        ((), {"claims": "org"}),
        ((), {"claims": ["org"]}),
        ((), {"claims": []}),
        ((), {"claims": ""}),
        ((), {"claims": {7: "a"}}),
        ((), {"max_age": -1}),
        ((), {"max_age": "60"}),
        ((), {"max_age": 60.0}),
        ((), {"max_age": True}),
        ((), {"acr_values": "urn:gold"}),
        ((), {"acr_values": ["urn:gold urn:silver"]}),
        ((), {"acr_values": ['urn:"gold"']}),
        ((), {"acr_values": [7]}),
        ((), {"acr_values": []}),
        ((), {"optional": "no"}),
        ((), {"optional": 1}),
        ((), {"optional": None}),
        ((), {"scope": "read:devices"}),
        ((), {"scopes": ["read:devices"]}),
    ],
    ids=str,
)
def test_wrong_arguments_fail_at_import(scopes: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        require_auth(*scopes, **options)


@pytest.mark.parametrize("protected", [None, "view", 7, {}, object, str, MissingCredentials, Flask("app")], ids=str)
def test_what_is_no_view_is_refused(protected: Any) -> None:
    with pytest.raises(TypeError, match="require_auth declares functions"):
        require_auth()(protected)


@pytest.mark.parametrize("name", ["any_of", "acr_values"])
@pytest.mark.parametrize("words", ["a", []])
def test_the_argument_at_fault_is_named(name: str, words: Any) -> None:
    options: dict[str, Any] = {name: words}
    with pytest.raises((TypeError, ValueError), match=name):
        require_auth(**options)


@pytest.mark.parametrize(
    "options",
    [{"realm": 'a"b'}, {"realm": ""}, {"realm": "ä"}, {"realm": "a\nb"}, {"realm": "a\\b"}, {"resource_url": 'a"b'}],
)
def test_what_cannot_stand_in_a_challenge_is_refused(app: Flask, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Auth(app.extensions["_bearer_auth"].verifier, **options)


def test_a_requirement_does_not_change_with_what_it_was_made_of(app: Flask) -> None:
    wanted = {"org": "a"}
    view = require_auth(claims=wanted)(who)
    wanted.clear()
    app.add_url_rule("/", view_func=view)
    assert app.test_client().get("/", headers=bearer(org="b")).status_code == 403


# --- What can be read of it -------------------------------------------------------------------------------------------


def test_requirements_of(nested: Flask) -> None:
    @require_auth("read:devices")
    class Devices(MethodView):
        def get(self) -> str:
            return who()

    stacked = require_auth("a")(require_auth(any_of=["b", "c"], max_age=60)(who))
    nested.add_url_rule("/open", "open", who)
    nested.add_url_rule("/stacked", "stacked", stacked)
    nested.add_url_rule("/class", view_func=Devices.as_view("class"))
    devices, anything = Requirement(scopes=("read:devices",)), Requirement()
    found = {name: requirements_of(nested, name, "GET") for name in nested.view_functions}
    assert found == {
        "static": (),
        "open": (),
        "stacked": (Requirement(scopes=("a",)), Requirement(any_of=("b", "c"), max_age=60)),
        "class": (devices,),
        "outer.view": (anything,),
        "outer.inner.view": (anything, devices),
        "outer.inner.more": (anything, devices, Requirement(scopes=("write:devices",))),
        "beside.view": (),
    }


def test_requirements_of_a_class_whose_methods_differ(app: Flask) -> None:
    class Devices(MethodView):
        @require_auth("read:devices")
        def get(self) -> str:
            return who()

        def post(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert app.test_client().get("/").status_code == 401
    assert app.test_client().post("/").status_code == 500
    assert requirements_of(app, "devices", "GET") == (Requirement(scopes=("read:devices",)),)
    assert requirements_of(app, "devices", "POST") == ()


def test_a_function_may_be_protected_on_several_routes(app: Flask, client: FlaskClient) -> None:
    for scope in ("read:devices", "write:devices"):
        app.add_url_rule(f"/{scope}", scope, require_auth(scope)(who))
    app.add_url_rule("/both", "both", require_auth("read:devices")(require_auth("write:devices")(who)))
    assert client.get("/read:devices", headers=bearer()).status_code == 200
    assert client.get("/write:devices", headers=bearer()).status_code == 403
    assert client.get("/both", headers=bearer(scope="read:devices write:devices")).status_code == 200


def test_a_test_of_a_claim_that_fails_on_its_form_does_not_hold(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/", view_func=require_auth(claims={"level": lambda level: level >= 3})(who))
    assert client.get("/", headers=bearer(level=3)).status_code == 200
    for level in ("3", [3], 2, None):
        assert client.get("/", headers=bearer(level=level)).status_code == 403


def test_requirements_of_an_endpoint_that_is_not_there(app: Flask) -> None:
    with pytest.raises(KeyError):
        requirements_of(app, "nowhere", "GET")


def test_times_are_those_of_the_verifier_s_clock(app: Flask) -> None:
    # The fixture's clock is not the machine's: nothing in the folder may look at another.
    assert abs(time.time() - NOW) > 3600
    assert ask(app, bearer()).status_code == 200
