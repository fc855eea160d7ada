"""No route is open by accident: each view declares who may call it, or its requests are refused."""

import functools
import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, request
from flask.views import MethodView, View
from werkzeug.routing import Rule

from api.auth import (
    Access,
    Auth,
    AuthConfig,
    ConfigError,
    Requirement,
    TokenVerifier,
    TrustedIssuer,
    access_of,
    current_token,
    open_to_all,
    require_auth,
    requirements_of,
)
from api.auth.keys.fetch import Fetched
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEY = rsa_key(0)
NOW = 1_800_000_000.0
BEARER = {"Authorization": f"Bearer {KEY.sign(claims(NOW))}"}
VERIFIER = TokenVerifier(
    AuthConfig(issuers=(TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}keys"),)),
    fetch=lambda _url, _timeout_seconds: Fetched(jwks(KEY), None),
    now=lambda: NOW,
)
HOW_TO_DECLARE = (
    "Put @require_auth(...) or @open_to_all directly below the route, above all other decorators; on a class before "
    "as_view() is called, or on each of its methods; or on a blueprint before it is registered."
)

View_ = Callable[..., Any]


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    Auth(VERIFIER).init_app(app)
    return app


def who() -> str:
    return current_token.subject if current_token else "nobody"


def statuses(app: Flask, path: str = "/", method: str = "GET") -> tuple[int, int]:
    """Return the statuses without and with a valid token, each asked twice: the second answer comes from memory."""
    client, found = app.test_client(), []
    for headers in ({}, BEARER, {}, BEARER):
        with client.open(path, method=method, headers=headers) as response:
            found.append(response.status_code)
    assert found[:2] == found[2:]
    return found[0], found[1]


CLOSED, OPEN, REFUSED = (401, 200), (200, 200), (500, 500)


def with_wraps(view: View_) -> View_:
    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


def without_wraps(view: View_) -> View_:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


def without_calling(view: View_) -> View_:
    @functools.wraps(view)
    def wrapper() -> str:
        return who()

    return wrapper


# --- Declared and undeclared views ------------------------------------------------------------------------------------


def test_a_view_that_declares_nothing_is_refused_and_does_not_run(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    ran = []

    @app.get("/")
    def view() -> str:
        ran.append(1)
        return ""

    assert statuses(app) == REFUSED
    assert statuses(app, method="HEAD") == REFUSED
    assert ran == []
    lines = [record for record in caplog.records if record.name == "api.auth"]
    # Once for each method, however many requests there are.
    assert [(line.levelno, line.getMessage()) for line in lines] == [
        (
            logging.ERROR,
            f"{method} view does not declare who may call it. {HOW_TO_DECLARE}",
        )
        for method in ("GET", "HEAD")
    ]


def test_the_client_is_told_nothing_and_a_test_everything(app: Flask) -> None:
    app.add_url_rule("/", view_func=who)
    assert "open_to_all" not in app.test_client().get("/").text
    app.testing = True
    with pytest.raises(RuntimeError, match="GET who does not declare who may call it"):
        app.test_client().get("/")


def test_a_declared_view_is_called(app: Flask) -> None:
    @app.get("/open")
    @open_to_all
    def open_view() -> str:
        """Say who."""
        return who()

    app.add_url_rule("/closed", "closed", require_auth()(who))
    app.add_url_rule("/optional", "optional", require_auth(optional=True)(who))
    assert (open_view.__name__, open_view.__doc__) == ("open_view", "Say who.")
    assert [statuses(app, path) for path in ("/open", "/closed", "/optional")] == [OPEN, CLOSED, OPEN]
    assert [access_of(app, name, "GET") for name in ("open_view", "closed", "optional")] == [
        Access.OPEN,
        Access.CLOSED,
        Access.CLOSED,
    ]
    assert access_of(app, "open_view", "HEAD") is Access.OPEN


def test_open_to_all_opens_its_own_route_and_no_other_of_the_function(app: Flask) -> None:
    app.add_url_rule("/open", "open", open_to_all(who))
    app.add_url_rule("/", "forgotten", who)
    app.add_url_rule("/closed", "closed", require_auth()(who))
    assert [statuses(app, path) for path in ("/open", "/", "/closed")] == [OPEN, REFUSED, CLOSED]


def test_an_async_view_stays_a_coroutine_function(app: Flask) -> None:
    @open_to_all
    async def view(number: int) -> str:  # what is tested is that it may
        return str(number)

    assert inspect.iscoroutinefunction(view)
    with pytest.raises(StopIteration) as returned:
        view(7).send(None)
    assert returned.value.value == "7"
    app.add_url_rule("/<int:number>", "view", view)
    assert access_of(app, "view", "GET") is Access.OPEN


@pytest.mark.parametrize("methods", [["GET", "POST"], ["POST"], ["PUT", "DELETE"]])
def test_a_function_for_several_methods(app: Flask, methods: list[str]) -> None:
    app.add_url_rule("/closed", "closed", require_auth()(who), methods=methods)
    app.add_url_rule("/open", "open", open_to_all(who), methods=methods)
    app.add_url_rule("/forgotten", "forgotten", who, methods=methods)
    for method in methods:
        found = [statuses(app, path, method) for path in ("/closed", "/open", "/forgotten")]
        assert found == [CLOSED, OPEN, REFUSED]


def test_what_flask_answers_itself_stays_as_it_is(app: Flask) -> None:
    app.add_url_rule("/", view_func=who)
    app.add_url_rule("/folder/", "folder", who)
    client = app.test_client()
    assert client.get("/nowhere").status_code == 404
    assert client.post("/").status_code == 405
    assert client.get("/folder").status_code == 308
    assert client.options("/").status_code == 200
    assert access_of(app, "who", "OPTIONS") is Access.OPEN


def test_an_options_view_of_its_own_must_be_declared(app: Flask) -> None:
    app.add_url_rule("/automatic", "options", who)
    app.add_url_rule("/own", "options", who, methods=["OPTIONS"])
    app.add_url_rule("/open", "open", open_to_all(who), methods=["OPTIONS"])
    app.add_url_rule("/other", "other", who)
    for _ in range(2):
        assert app.test_client().options("/automatic").status_code == 200
        assert statuses(app, "/own", "OPTIONS") == REFUSED
    assert statuses(app, "/open", "OPTIONS") == OPEN
    assert access_of(app, "options", "OPTIONS") is Access.UNDECLARED
    assert access_of(app, "other", "OPTIONS") is Access.OPEN
    app.view_functions["no rule"] = who
    assert access_of(app, "no rule", "OPTIONS") is Access.UNDECLARED


def test_flask_s_static_files_are_open(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    app = Flask(__name__, static_folder=tmp_path, static_url_path="/files")
    Auth(VERIFIER).init_app(app)
    pages = Blueprint("pages", __name__, static_folder=tmp_path, url_prefix="/pages")
    nested = Blueprint("nested", __name__, static_folder=tmp_path, url_prefix="/nested")
    pages.register_blueprint(nested)
    app.register_blueprint(pages)
    closed = require_auth()(Blueprint("closed", __name__, static_folder=tmp_path, url_prefix="/closed"))
    app.register_blueprint(closed)
    name = tmp_path.name
    paths = ["/files/a.txt", f"/pages/{name}/a.txt", f"/pages/nested/{name}/a.txt"]
    assert [statuses(app, path) for path in paths] == [OPEN] * 3
    assert statuses(app, f"/closed/{name}/a.txt") == CLOSED
    assert access_of(app, "closed.static", "GET") is Access.CLOSED


def test_a_view_of_flask_s_module_under_another_name_is_not_for_static_files(app: Flask) -> None:
    app.add_url_rule("/files/<path:filename>", "files", app.view_functions["static"])
    assert statuses(app, "/files/none") == REFUSED


def test_a_static_view_of_the_application_s_own_class() -> None:
    class Static:
        def __call__(self, filename: str) -> str:
            return filename

    app = Flask(__name__, static_folder=None)
    Auth(VERIFIER).init_app(app)
    app.add_url_rule("/<filename>", "static", Static())
    assert access_of(app, "static", "GET") is Access.UNDECLARED


def test_a_static_method_of_flask_is_open() -> None:
    app = Flask(__name__, static_folder=None)
    Auth(VERIFIER).init_app(app)
    app.add_url_rule("/<path:filename>", "files", app.send_static_file)
    assert access_of(app, "files", "GET") is Access.OPEN


def test_a_view_that_is_called_static_is_not_flask_s() -> None:
    app = Flask(__name__, static_folder=None)
    Auth(VERIFIER).init_app(app)
    pages = Blueprint("pages", __name__)
    app.add_url_rule("/", "static", who)
    pages.add_url_rule("/pages", "static", who)
    app.register_blueprint(pages)
    assert [statuses(app, path) for path in ("/", "/pages")] == [REFUSED] * 2


# --- Where a decorator can get lost -----------------------------------------------------------------------------------


def test_require_auth_above_the_route(app: Flask) -> None:
    @require_auth()
    @app.get("/")
    def view() -> str:
        return who()

    assert statuses(app) == REFUSED


@pytest.mark.parametrize("between", [with_wraps, without_wraps])
def test_require_auth_above_another_decorator_above_the_route(app: Flask, between: Callable[[View_], View_]) -> None:
    @require_auth()
    @between
    @app.get("/")
    def view() -> str:
        return who()

    assert statuses(app) == REFUSED


def test_two_routes_with_require_auth_between_them(app: Flask) -> None:
    @app.get("/upper", endpoint="upper")
    @require_auth()
    @app.get("/lower", endpoint="lower")
    def view() -> str:
        return who()

    assert statuses(app, "/upper") == CLOSED
    assert statuses(app, "/lower") == REFUSED


def test_a_bound_method(app: Flask) -> None:
    class Service:
        def forgotten(self) -> str:
            return who()

        @require_auth()
        def closed(self) -> str:
            return who()

        @open_to_all
        def open(self) -> str:
            return who()

    service = Service()
    app.add_url_rule("/forgotten", view_func=service.forgotten)
    service.forgotten = require_auth()(service.forgotten)  # type: ignore[method-assign]  # too late
    app.add_url_rule("/wrapped", "wrapped", require_auth()(Service().forgotten))
    app.add_url_rule("/closed", view_func=service.closed)
    app.add_url_rule("/open", view_func=service.open)
    assert statuses(app, "/forgotten") == REFUSED
    assert [statuses(app, path) for path in ("/wrapped", "/closed", "/open")] == [CLOSED, CLOSED, OPEN]


def test_a_decorator_with_wraps_above_the_declaration(app: Flask) -> None:
    app.add_url_rule("/closed", "closed", with_wraps(with_wraps(require_auth("read:devices")(who))))
    app.add_url_rule("/open", "open", with_wraps(open_to_all(who)))
    assert statuses(app, "/closed") == CLOSED
    assert statuses(app, "/open") == OPEN
    assert requirements_of(app, "closed", "GET") == (Requirement(scopes=("read:devices",)),)


def test_a_decorator_that_holds_a_bound_method_or_a_partial(app: Flask) -> None:
    class Service:
        @require_auth()
        def closed(self) -> str:
            return who()

    closed = require_auth()(who)

    def with_partial(view: View_) -> View_:
        held = functools.partial(view)
        return functools.wraps(view)(lambda: str(held()))

    app.add_url_rule("/method", "method", with_wraps(Service().closed))
    app.add_url_rule("/partial", "partial", with_partial(closed))
    assert [statuses(app, path) for path in ("/method", "/partial")] == [CLOSED, CLOSED]


def test_a_decorator_that_is_a_class(app: Flask) -> None:
    class Counted:
        def __init__(self, view: View_) -> None:
            self.view = view
            functools.update_wrapper(self, view)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.view(*args, **kwargs)

    app.add_url_rule("/closed", "closed", Counted(require_auth()(who)))
    app.add_url_rule("/forgotten", "forgotten", Counted(who))

    class Devices(MethodView):
        @require_auth()
        def get(self) -> str:
            return who()

    app.add_url_rule("/class", "class", Counted(Devices.as_view("class")))
    assert statuses(app, "/closed") == CLOSED
    assert statuses(app, "/class") == CLOSED
    assert statuses(app, "/forgotten") == REFUSED


def test_proxies_of_monitoring_tools(app: Flask) -> None:
    # ddtrace and New Relic put such a proxy around every view and every function in `before_request_funcs`.
    class Proxy:
        __slots__ = ("__wrapped__",)
        __wrapped__: Any

        def __init__(self, wrapped: Any) -> None:
            object.__setattr__(self, "__wrapped__", wrapped)

        @property  # type: ignore[misc]  # as wrapt does it
        def __class__(self) -> type:
            return type(self.__wrapped__)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__wrapped__, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(self.__wrapped__, name, value)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.__wrapped__(*args, **kwargs)

    class Devices(MethodView):
        @require_auth()
        def get(self) -> str:
            return who()

    gated = require_auth()(Blueprint("gated", __name__))
    gated.add_url_rule("/gated", "view", Proxy(who))
    app.register_blueprint(gated)
    app.add_url_rule("/closed", "closed", Proxy(require_auth()(who)))
    app.add_url_rule("/open", "open", with_wraps(Proxy(open_to_all(who))))
    app.add_url_rule("/class", "class", Proxy(Devices.as_view("class")))
    app.add_url_rule("/forgotten", "forgotten", Proxy(who))
    app.before_request_funcs["gated"] = [Proxy(check) for check in app.before_request_funcs["gated"]]
    paths = ("/gated", "/closed", "/open", "/class", "/forgotten", "/static/none")
    app.view_functions["static"] = Proxy(app.view_functions["static"])
    assert [statuses(app, path) for path in paths] == [CLOSED, CLOSED, OPEN, CLOSED, REFUSED, (404, 404)]


def test_a_partial_is_what_it_calls(app: Flask) -> None:
    def view(number: int) -> str:
        return f"{who()} {number}"

    app.add_url_rule("/closed", "closed", functools.partial(require_auth()(view), 7))
    app.add_url_rule("/open", "open", functools.partial(open_to_all(view), 7))
    app.add_url_rule("/forgotten", "forgotten", functools.partial(view, 7))
    assert [statuses(app, path) for path in ("/closed", "/open", "/forgotten")] == [CLOSED, OPEN, REFUSED]


def test_a_decorator_without_wraps_hides_the_declaration(app: Flask) -> None:
    app.add_url_rule("/closed", "closed", without_wraps(require_auth()(who)))
    app.add_url_rule("/open", "open", without_wraps(open_to_all(who)))
    assert [statuses(app, path) for path in ("/closed", "/open")] == [REFUSED] * 2


@pytest.mark.parametrize("declare", [require_auth(), open_to_all])
def test_a_copy_of_the_attributes_is_no_declaration(app: Flask, declare: Callable[[View_], View_]) -> None:
    declared = declare(who)

    @functools.wraps(declared)
    def other() -> str:
        return who()

    app.add_url_rule("/other", "other", other)
    app.add_url_rule("/not-called", "not-called", without_calling(declared))
    app.add_url_rule("/above", "above", with_wraps(without_calling(declared)))
    # It answers from its memory: the view, and with it the check, runs once.
    app.add_url_rule("/cached", "cached", functools.cache(declared))
    assert [statuses(app, path) for path in ("/other", "/not-called", "/above", "/cached")] == [REFUSED] * 4
    assert requirements_of(app, "not-called", "GET") == ()


def test_a_decorator_that_refers_to_itself(app: Flask) -> None:
    def counted(view: View_) -> View_:
        @functools.wraps(view)
        def wrapper() -> Any:
            calls[wrapper] = calls.get(wrapper, 0) + 1
            return view()

        return wrapper

    calls: dict[View_, int] = {}
    app.add_url_rule("/closed", "closed", counted(require_auth()(who)))
    app.add_url_rule("/copied", "copied", counted(without_calling(require_auth()(who))))
    assert [statuses(app, path) for path in ("/closed", "/copied")] == [CLOSED, REFUSED]


def test_a_declared_view_in_the_default_of_an_argument(app: Flask) -> None:
    closed = require_auth()(who)

    @functools.wraps(closed)
    def positional(view: View_ = closed) -> Any:
        return view()

    @functools.wraps(closed)
    def keyword(*, view: View_ = closed) -> Any:
        return view()

    app.add_url_rule("/positional", "positional", positional)
    app.add_url_rule("/keyword", "keyword", keyword)
    assert [statuses(app, path) for path in ("/positional", "/keyword")] == [CLOSED, CLOSED]


def test_a_class_does_not_call_the_declared_view_that_it_has(app: Flask) -> None:
    closed = require_auth()(who)

    class Pages:
        view = closed

    @functools.wraps(closed)
    def other() -> str:
        return f"{who()} {Pages.__name__}"

    app.add_url_rule("/", "other", other)
    assert statuses(app) == REFUSED


def test_what_cannot_be_called_does_not_call_a_declared_view(app: Flask) -> None:
    class Registry:
        def __init__(self, view: View_) -> None:
            self.view = view

    closed = require_auth()(who)
    registry = Registry(closed)

    @functools.wraps(closed)
    def other() -> str:
        return f"{who()} {registry}"

    app.add_url_rule("/", "other", other)
    assert statuses(app) == REFUSED


def test_a_requirement_that_is_not_enforced_is_not_reported(app: Flask) -> None:
    lost = without_calling(require_auth("read:devices")(who))
    app.add_url_rule("/", "view", require_auth("write:devices")(lost))
    assert requirements_of(app, "view", "GET") == (Requirement(scopes=("write:devices",)),)


def test_a_wrapper_that_holds_a_proxy_and_an_empty_variable(app: Flask) -> None:
    declared = require_auth()(who)
    proxy = request

    @functools.wraps(declared)
    def wrapper() -> Any:
        return (later, proxy, declared)[2]()

    app.add_url_rule("/", "view", wrapper)
    assert access_of(app, "view", "GET") is Access.CLOSED
    later = None
    assert statuses(app) == CLOSED


# --- Classes ----------------------------------------------------------------------------------------------------------


def test_a_class_that_declares_nothing(app: Flask) -> None:
    class Devices(View):
        def dispatch_request(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert statuses(app) == REFUSED


@pytest.mark.parametrize("every_request", [True, False])
def test_a_class_that_is_protected_after_as_view(app: Flask, every_request: bool) -> None:  # noqa: FBT001
    class Devices(MethodView):
        init_every_request = every_request

        def get(self) -> str:
            return who()

    app.add_url_rule("/early", view_func=Devices.as_view("early"))
    require_auth()(Devices)
    app.add_url_rule("/late", view_func=Devices.as_view("late"))
    assert statuses(app, "/early") == REFUSED
    assert statuses(app, "/late") == CLOSED


def test_a_subclass_that_replaces_its_decorators(app: Flask) -> None:
    @require_auth()
    class Base(MethodView):
        def get(self) -> str:
            return who()

    class Replaced(Base):
        decorators = [with_wraps]  # noqa: RUF012

    class Extended(Base):
        decorators = [*Base.decorators, with_wraps]  # noqa: RUF012

    app.add_url_rule("/base", view_func=Base.as_view("base"))
    app.add_url_rule("/replaced", view_func=Replaced.as_view("replaced"))
    app.add_url_rule("/extended", view_func=Extended.as_view("extended"))
    assert [statuses(app, path) for path in ("/base", "/replaced", "/extended")] == [CLOSED, REFUSED, CLOSED]


@pytest.mark.parametrize("every_request", [True, False])
def test_methods_that_declare_for_themselves(app: Flask, every_request: bool) -> None:  # noqa: FBT001
    class Devices(MethodView):
        init_every_request = every_request

        @require_auth("read:devices")
        def get(self) -> str:
            return who()

        @open_to_all
        def put(self) -> str:
            return who()

        def post(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    found = {method: statuses(app, method=method) for method in ("GET", "HEAD", "PUT", "POST")}
    assert found == {"GET": CLOSED, "HEAD": CLOSED, "PUT": OPEN, "POST": REFUSED}
    assert app.test_client().options("/").status_code == 200
    assert requirements_of(app, "devices", "HEAD") == (Requirement(scopes=("read:devices",)),)


def test_a_head_method_of_its_own_must_be_declared(app: Flask) -> None:
    class Devices(MethodView):
        @open_to_all
        def get(self) -> str:
            return who()

        def head(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert statuses(app) == OPEN
    assert statuses(app, method="HEAD") == REFUSED


def test_an_open_class_whose_method_is_protected(app: Flask) -> None:
    @open_to_all
    class Devices(MethodView):
        def get(self) -> str:
            return who()

        @require_auth()
        def post(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert statuses(app) == OPEN
    assert statuses(app, method="POST") == CLOSED


@pytest.mark.parametrize(("declare", "expected"), [(require_auth(), CLOSED), (open_to_all, OPEN)])
def test_dispatch_request_declares_for_its_class(app: Flask, declare: Any, expected: tuple[int, int]) -> None:
    class Devices(View):
        dispatch_request = declare(lambda self: who())

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert statuses(app) == expected


def test_the_methods_of_a_view_that_are_not_called_do_not_count(app: Flask) -> None:
    class Devices(View):
        def dispatch_request(self) -> str:
            return who()

        @require_auth()
        def get(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"))
    assert statuses(app) == REFUSED


def test_decorators_around_the_view_of_a_class(app: Flask) -> None:
    class Devices(MethodView):
        decorators = [without_wraps]  # noqa: RUF012

        @require_auth()
        def get(self) -> str:
            return who()

    app.add_url_rule("/own", view_func=Devices.as_view("own"))
    app.add_url_rule("/wraps", view_func=with_wraps(Devices.as_view("wraps")))
    app.add_url_rule("/hidden", "hidden", without_wraps(Devices.as_view("hidden")))
    app.add_url_rule("/copied", view_func=without_calling(Devices.as_view("copied")))
    app.add_url_rule("/closed", "closed", require_auth()(Devices.as_view("closed")))
    found = [statuses(app, path) for path in ("/own", "/wraps", "/hidden", "/copied", "/closed")]
    assert found == [CLOSED, CLOSED, REFUSED, REFUSED, CLOSED]
    assert access_of(app, "hidden", "GET") is Access.UNDECLARED


def test_only_head_is_what_get_declares(app: Flask) -> None:
    class Devices(MethodView):
        @require_auth()
        def get(self) -> str:
            return who()

    app.add_url_rule("/", view_func=Devices.as_view("devices"), methods=["GET", "POST"])
    assert access_of(app, "devices", "HEAD") is Access.CLOSED
    assert access_of(app, "devices", "POST") is Access.UNDECLARED
    assert requirements_of(app, "devices", "POST") == ()


# --- Blueprints -------------------------------------------------------------------------------------------------------


def test_blueprints_declare_for_their_routes_and_those_nested_in_them(app: Flask) -> None:
    for name, declare in (("closed", require_auth()), ("open", open_to_all), ("neither", None)):
        outer, inner = Blueprint(name, __name__, url_prefix=f"/{name}"), Blueprint("inner", __name__)
        assert declare is None or declare(outer) is outer
        outer.add_url_rule("/", "view", who)
        outer.add_url_rule("/closed", "closed", require_auth()(who))
        outer.add_url_rule("/open", "open", open_to_all(who))
        inner.add_url_rule("/inner", "view", who)
        outer.register_blueprint(inner)
        app.register_blueprint(outer)
    paths = ("/", "/closed", "/open", "/inner")
    found = {name: [statuses(app, f"/{name}{path}") for path in paths] for name in ("closed", "open", "neither")}
    assert found == {
        # In a closed blueprint, the gate also refuses requests for views that say they are open.
        "closed": [CLOSED, CLOSED, CLOSED, CLOSED],
        "open": [OPEN, CLOSED, OPEN, OPEN],
        "neither": [REFUSED, CLOSED, OPEN, REFUSED],
    }
    assert access_of(app, "closed.open", "GET") is Access.CLOSED
    assert access_of(app, "neither.inner.view", "GET") is Access.UNDECLARED


def test_a_nested_blueprint_does_not_declare_for_the_outer_one(app: Flask) -> None:
    outer, inner = Blueprint("outer", __name__), open_to_all(Blueprint("inner", __name__))
    outer.add_url_rule("/outer", "view", who)
    inner.add_url_rule("/inner", "view", who)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    assert [statuses(app, path) for path in ("/outer", "/inner")] == [REFUSED, OPEN]


# --- Mistakes at import -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [None, "view", 7, {}, object, str, RuntimeError, Flask("app")], ids=str)
def test_what_is_no_view_is_refused(declared: Any) -> None:
    with pytest.raises(TypeError, match="open_to_all declares functions"):
        open_to_all(declared)


@pytest.mark.parametrize("arguments", [(), ("read:devices",), (who, who)])
def test_wrong_arguments_are_refused(arguments: Any) -> None:
    with pytest.raises(TypeError):
        open_to_all(*arguments)


def test_open_to_all_with_require_auth_on_the_same_view_is_refused() -> None:
    both = pytest.raises(TypeError, match="contradict")
    with both:
        open_to_all(require_auth()(who))
    with both:
        require_auth()(open_to_all(who))
    with both:
        require_auth()(with_wraps(open_to_all(who)))
    with both:
        open_to_all(require_auth()(Blueprint("closed", __name__)))
    with both:
        require_auth()(open_to_all(Blueprint("open", __name__)))

    @require_auth()
    class Closed(MethodView): ...

    class Derived(Closed): ...

    @open_to_all
    class Open(View): ...

    class OpenMethod(MethodView):
        @open_to_all
        def get(self) -> str:
            return ""

    class OpenDispatch(View):
        dispatch_request = open_to_all(lambda _self: "")

    for closed in (Closed, Derived):
        with both:
            open_to_all(closed)
    for opened in (Open, OpenMethod, OpenDispatch):
        with both:
            require_auth()(opened)


def test_open_to_all_twice_is_no_mistake(app: Flask) -> None:
    app.add_url_rule("/", "view", open_to_all(open_to_all(who)))
    assert statuses(app) == OPEN


def test_a_blueprint_that_is_registered_already_is_refused(app: Flask) -> None:
    late = Blueprint("late", __name__)
    app.register_blueprint(late)
    with pytest.raises(AssertionError):
        open_to_all(late)


@pytest.mark.parametrize("undeclared", ["closed", "", None, True, "OPEN"])
def test_another_value_of_undeclared_is_refused(undeclared: Any) -> None:
    with pytest.raises(ConfigError, match="undeclared"):
        Auth(VERIFIER, undeclared=undeclared)


# --- Auth -------------------------------------------------------------------------------------------------------------


def test_undeclared_open_lets_requests_through_and_logs_each_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    Auth(VERIFIER, undeclared="open").init_app(app)
    app.add_url_rule("/", view_func=who, methods=["GET", "POST"])
    app.add_url_rule("/closed", "closed", require_auth()(who))
    assert [statuses(app), statuses(app, method="POST"), statuses(app, "/closed")] == [OPEN, OPEN, CLOSED]
    lines = [record for record in caplog.records if record.name == "api.auth"]
    assert [(line.levelname, *line.getMessage().split()[:2]) for line in lines] == [
        ("WARNING", "GET", "who"),
        ("WARNING", "POST", "who"),
    ]
    assert access_of(app, "who", "GET") is Access.UNDECLARED


@pytest.mark.parametrize("last", ["refuse", "open"])
def test_of_two_installed_the_last_one_counts(last: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    first: Any = "open" if last == "refuse" else "refuse"
    Auth(VERIFIER, undeclared=first).init_app(app)
    Auth(VERIFIER, undeclared=last).init_app(app)
    app.add_url_rule("/", view_func=who)
    app.add_url_rule("/closed", "closed", require_auth()(who))
    assert statuses(app) == (REFUSED if last == "refuse" else OPEN)
    assert statuses(app, "/closed") == CLOSED
    assert len([record for record in caplog.records if record.name == "api.auth"]) == 1
    assert len(app.before_request_funcs[None]) == 1


def test_one_auth_on_two_applications() -> None:
    auth = Auth(VERIFIER)
    one, other = Flask("one"), Flask("other")
    for app, view in ((one, open_to_all(who)), (other, who)):
        auth.init_app(app)
        app.add_url_rule("/", "view", view)
    assert [statuses(one), statuses(other), statuses(one)] == [OPEN, REFUSED, OPEN]


def test_a_view_that_is_replaced_is_looked_at_again(app: Flask) -> None:
    app.add_url_rule("/", "view", open_to_all(who))
    assert statuses(app) == OPEN
    app.view_functions["view"] = who
    assert statuses(app) == REFUSED
    app.view_functions["view"] = require_auth()(who)
    assert statuses(app) == CLOSED


def test_a_verdict_is_remembered(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def counted(app: Flask, endpoint: str, method: str) -> Access:
        asked.append((endpoint, method))
        return access_of(app, endpoint, method)

    monkeypatch.setattr("api.auth.flask.extension.access_of", counted)
    app.add_url_rule("/", "view", open_to_all(who))
    app.add_url_rule("/same", "view")
    for path in ("/", "/same", "/"):
        assert statuses(app, path) == OPEN
    assert asked == [("view", "GET")]


def test_a_rule_that_takes_any_method(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("api.auth.flask.extension.access_of", counted := Counted())
    app.url_map.add(Rule("/", endpoint="view"))
    app.endpoint("view")(open_to_all(who))
    for number in range(3):
        assert app.test_client().open("/", method=f"M{number}").status_code == 200
        assert app.test_client().open("/", method=f"M{number}").status_code == 200
    # Clients choose these methods: nothing is remembered of them.
    assert counted.calls == 6
    app.view_functions["view"] = who
    assert app.test_client().open("/", method="M1").status_code == 500
    assert app.test_client().open("/", method="M1").status_code == 500
    assert len([record for record in caplog.records if record.name == "api.auth"]) == 2


def test_a_rule_of_which_flask_answers_no_options_must_be_declared(app: Flask) -> None:
    app.url_map.add(Rule("/", endpoint="view"))
    app.endpoint("view")(who)
    app.url_map.add(Rule("/closed", endpoint="closed"))
    app.endpoint("closed")(require_auth()(who))
    gated = require_auth()(Blueprint("gated", __name__))
    app.register_blueprint(gated)
    app.url_map.add(Rule("/gated", endpoint="gated.view"))
    app.endpoint("gated.view")(who)
    assert statuses(app, "/", "OPTIONS") == REFUSED
    assert statuses(app, "/closed", "OPTIONS") == CLOSED
    assert statuses(app, "/gated", "OPTIONS") == CLOSED
    assert access_of(app, "view", "OPTIONS") is Access.UNDECLARED
    assert access_of(app, "gated.view", "OPTIONS") is Access.CLOSED


class Counted:
    calls = 0

    def __call__(self, app: Flask, endpoint: str, method: str) -> Access:
        self.calls += 1
        return access_of(app, endpoint, method)


def test_the_values_of_access() -> None:
    assert [access.value for access in Access] == ["open", "closed", "undeclared"]


def test_access_of_an_endpoint_that_is_not_there(app: Flask) -> None:
    with pytest.raises(KeyError):
        access_of(app, "nowhere", "GET")


# --- flask auth routes ------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(app: Flask) -> Flask:
    class Devices(MethodView):
        @require_auth("read:devices")
        def get(self) -> str:
            return ""

        @require_auth(any_of=["write", "admin"], max_age=60)
        @require_auth("read:devices")
        def post(self) -> str:
            return ""

        @open_to_all
        def put(self) -> str:
            return ""

    app.add_url_rule("/z", "z", require_auth(optional=True)(who))
    app.add_url_rule("/devices/<id>", view_func=Devices.as_view("devices"))
    app.add_url_rule("/a", "a", open_to_all(who), methods=["GET", "OPTIONS"])
    app.add_url_rule("/form", "form", require_auth(claims={"org": "secret"}, audience="urn:a")(who), methods=["POST"])
    app.url_map.add(Rule("/built-only", endpoint="elsewhere", build_only=True))
    return app


def test_the_command_lists_all_routes(listed: Flask) -> None:
    result = listed.test_cli_runner().invoke(args=["auth", "routes"])
    headings, dashes, *lines = result.output.splitlines()
    assert headings.split() == ["Endpoint", "Methods", "Rule", "Access"]
    rows = [tuple(re.split(r" {2,}", line)) for line in lines]
    assert dashes.split("  ") == ["-" * max(map(len, column)) for column in zip(headings.split(), *rows, strict=True)]
    assert rows == [
        ("a", "GET, OPTIONS", "/a", "open"),
        ("devices", "GET", "/devices/<id>", "scope read:devices"),
        ("devices", "POST", "/devices/<id>", "scope write or admin; login within 60 s, and scope read:devices"),
        ("devices", "PUT", "/devices/<id>", "open"),
        ("form", "POST", "/form", "audience urn:a; claims org"),
        ("static", "GET", "/static/<path:filename>", "open"),
        ("z", "GET", "/z", "any valid token; or no token"),
    ]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        (Rule("/x", endpoint="x"), ["DELETE, GET, PATCH, POST, PUT"]),  # as Werkzeug has it: any method
        (Rule("/x", endpoint="x", methods=["HEAD"]), ["HEAD"]),
        (Rule("/x", endpoint="x", methods=["GET", "OPTIONS"]), ["GET, OPTIONS"]),
        (Flask.url_rule_class("/x", endpoint="x", methods=["GET", "POST"]), ["GET, POST"]),
    ],
)
def test_the_methods_of_a_route(app: Flask, rule: Rule, shown: list[str]) -> None:
    app.view_functions["x"] = open_to_all(who)
    app.url_map.add(rule)
    output = app.test_cli_runner().invoke(args=["auth", "routes"]).output
    assert re.findall(r"^x +(.*?) +/x +open$", output, re.MULTILINE) == shown


def test_a_route_that_answers_options_alone(app: Flask) -> None:
    app.add_url_rule("/x", "x", open_to_all(who), methods=[])
    output = app.test_cli_runner().invoke(args=["auth", "routes"]).output
    assert re.search(r"^x +OPTIONS +/x +open$", output, re.MULTILINE)


def test_the_command_fails_if_a_route_is_undeclared(listed: Flask) -> None:
    listed.add_url_rule("/forgotten", "forgotten", who)
    result = listed.test_cli_runner().invoke(args=["auth", "routes"])
    assert re.search(r"^forgotten +GET +/forgotten +UNDECLARED$", result.stdout, re.MULTILINE)
    assert result.stderr == f"UNDECLARED: {HOW_TO_DECLARE}\n"
    assert result.exit_code == 1


def test_a_command_of_the_application_is_kept() -> None:
    app = Flask(__name__)

    @app.cli.command("auth")
    def own() -> None: ...

    Auth(VERIFIER).init_app(app)
    assert app.cli.commands["auth"] is own
