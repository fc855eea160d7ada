"""The controls over HTTP, and their OpenAPI document compared with the code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

import mock_issuer
from mock_issuer import Config, Server, create_app
from mock_issuer.control.control import Control
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.events import Event
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.mock_issuer.conftest import LiveIssuer

CONTRACT: dict[str, Any] = yaml.safe_load(
    (Path(mock_issuer.__file__).parent / "control" / "control.yaml").read_text(encoding="utf-8")
)
POSTS = sorted(path.removeprefix("/_mock/") for path, item in CONTRACT["paths"].items() if "post" in item)
GETS = sorted(path.removeprefix("/_mock/") for path, item in CONTRACT["paths"].items() if "get" in item)
# Operations that are not named like methods of Control.
METHODS: dict[str, Any] = {"advance_clock": Clock.advance, "users/remove": Control.remove_user}
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}


def do(issuer: LiveIssuer, operation: str, **arguments: Any) -> requests.Response:
    return issuer.request("POST", f"/_mock/{operation}", json=arguments)


def resolved(node: Any) -> Any:
    """Follow the references of a node within the document."""
    while isinstance(node, dict) and "$ref" in node:
        found: Any = CONTRACT
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def check(response: requests.Response, method: str, operation: str) -> None:
    """Validate a response against the document."""
    described = CONTRACT["paths"][f"/_mock/{operation}"][method]["responses"]
    assert str(response.status_code) in described
    ((media_type, content),) = resolved(described[str(response.status_code)])["content"].items()
    assert header_of(response, "Content-Type").partition(";")[0] == media_type
    if "schema" in content:
        schema = {"$id": "urn:control", **json.loads(json.dumps(CONTRACT)), **content["schema"]}
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(response.json())


# The document


def test_the_document_is_openapi() -> None:
    validate(CONTRACT)


def test_the_document_is_served(issuer: LiveIssuer) -> None:
    response = issuer.get("/_mock/openapi.yaml")
    check(response, "get", "openapi.yaml")
    assert yaml.safe_load(response.text) == CONTRACT


def test_every_operation_is_described_and_nothing_else() -> None:
    in_python = {name for name in vars(Control) if not name.startswith("_")} - {"clock", "events", "hostile"}
    assert set(POSTS) == in_python - {"remove_user"} | {"users/remove", "advance_clock"}
    assert set(GETS) == {"events", "hostile", "openapi.yaml"}
    for path, item in CONTRACT["paths"].items():
        for described in item.values():
            assert {"200", "403"} <= described["responses"].keys(), path


def json_type(hint: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        (inner,) = [part for part in parts if part is not NoneType]
        found = json_type(inner)
        return [*found, None] if isinstance(found, list) else [found, "null"]
    if origin is Literal:
        return list(parts)
    return JSON_TYPES.get(hint, "object")


@pytest.mark.parametrize("operation", POSTS)
def test_arguments_are_described_as_the_code_declares_them(operation: str) -> None:
    method = METHODS.get(operation) or getattr(Control, operation)
    hints = get_type_hints(method)
    parameters = {name: one for name, one in inspect.signature(method).parameters.items() if name != "self"}
    body = resolved(CONTRACT["paths"][f"/_mock/{operation}"]["post"]["requestBody"])
    schema = body["content"]["application/json"]["schema"]
    assert body["required"] is True
    assert schema["additionalProperties"] is False
    described = schema.get("properties", {})
    assert described.keys() == parameters.keys()
    assert set(schema.get("required", [])) == {
        name for name, one in parameters.items() if one.default is inspect.Parameter.empty
    }
    for name, property_ in described.items():
        assert property_.get("type", property_.get("enum")) == json_type(hints[name]), name


def test_the_query_of_hostile_is_described_as_the_code_declares_it() -> None:
    described = {one["name"] for one in CONTRACT["paths"]["/_mock/hostile"]["get"]["parameters"]}
    assert described == set(inspect.signature(Control.hostile).parameters) - {"self"}


def test_the_event_schema_has_the_fields_of_event() -> None:
    schema = CONTRACT["components"]["schemas"]["Event"]
    fields = set(Event.__dataclass_fields__)
    assert schema["properties"].keys() == fields == set(schema["required"])


# Responses


def test_every_operation_answers_as_described(issuer: LiveIssuer) -> None:
    def device() -> str:
        return str(issuer.device()["user_code"])

    arguments: dict[str, list[dict[str, Any]]] = {
        "token": [
            {},
            {"machine": True},
            {"scope": "a", "sub": "b", "audience": "c", "client_id": "d", "expires_in": 1.5, "claims": {}},
        ],
        "rotate_keys": [{}],
        "withdraw_key": [{}, {"kid": None}],
        "jwks_fault": [{"status": 500, "delay": 0, "body": "x", "redirect": "/y"}, {}],
        "approve": [{"user_code": device()}, {"user_code": device(), "user": "bob"}],
        "deny": [{"user_code": device()}, {"user_code": device(), "user": None}],
        "expire": [{"user_code": device()}],
        "script": [{"after_polls": 1, "outcome": "deny", "user": "bob"}, {"outcome": None}, {}],
        "advance_clock": [{"seconds": 0}, {"seconds": 1.5}],
        "users/remove": [{"user": "bob"}],
        "reset": [{}],
    }
    assert sorted(arguments) == POSTS
    issuer.server.rotate_keys()
    for operation, bodies in arguments.items():
        for body in bodies:
            response = do(issuer, operation, **body)
            assert response.status_code == 200, (operation, body, response.text)
            check(response, "post", operation)
    for operation in GETS:
        issuer.request_device(client_id="nobody")
        response = issuer.get(f"/_mock/{operation}")
        assert response.status_code == 200
        check(response, "get", operation)


def test_every_example_of_the_document_is_accepted(issuer: LiveIssuer) -> None:
    for operation in POSTS:
        content = resolved(CONTRACT["paths"][f"/_mock/{operation}"]["post"]["requestBody"])["content"]
        example = content["application/json"].get("example")
        if example is not None and "user_code" not in example:
            assert do(issuer, operation, **example).status_code == 200, operation
            issuer.server.reset()


def test_operations_take_effect_before_the_response(issuer: LiveIssuer) -> None:
    device = issuer.device()
    kid = do(issuer, "rotate_keys").json()["kid"]
    header, claims = issuer.verify(do(issuer, "token", scope="read:devices", sub="me").json()["access_token"])
    assert (header["kid"], claims["sub"], claims["scope"]) == (kid, "me", "read:devices")
    do(issuer, "approve", user_code=device["user_code"], user="bob")
    assert issuer.poll(device).status_code == 200
    do(issuer, "script", outcome="deny")
    assert issuer.poll(issuer.device()).json()["error"] == "access_denied"
    assert do(issuer, "advance_clock", seconds=90.5).json() == {"now": issuer.clock.now + 90.5}
    types = [event["type"] for event in issuer.get("/_mock/events").json()["events"]]
    assert types == ["jwks", "sede", "fdeac", "fede"]
    do(issuer, "jwks_fault", status=418)
    assert issuer.get("/.well-known/jwks.json").status_code == 418
    do(issuer, "users/remove", user="bob")
    assert issuer.request("POST", "/_mock/approve", json={"user_code": "x", "user": "bob"}).status_code == 400
    do(issuer, "reset")
    assert issuer.get("/_mock/events").json() == {"events": []}
    assert issuer.get("/.well-known/jwks.json").status_code == 200
    do(issuer, "approve", user_code=issuer.device()["user_code"], user="bob")


# Errors


def error_description(response: requests.Response, operation: str) -> str:
    """Validate an error response and return its description."""
    check(response, "post", operation)
    body = response.json()
    assert (response.status_code, body["error"]) == (400, "invalid_request")
    return str(body["error_description"])


@pytest.mark.parametrize("operation", POSTS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("{} {}", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[" * 1000, "not valid JSON"),
        # Nested too deep for the parser of Python 3.11; that of 3.12 finds an unknown member.
        ('{"a":' * 5000 + "1" + "}" * 5000, "not"),
        ("null", "not an object"),
        ("[]", "not an object"),
        ('"reset"', "not an object"),
        ("1", "not an object"),
        ('{"self": 1}', "self is not known"),
        ('{"é\\"<": 1}', 'é"< is not known'),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_body_is_an_object_of_known_members(
    shared_issuer: LiveIssuer, operation: str, content: str | bytes, words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = shared_issuer.request(
        "POST", f"/_mock/{operation}", data=content.encode() if isinstance(content, str) else content, headers=headers
    )
    assert words in error_description(response, operation)


@pytest.mark.parametrize("operation", POSTS)
@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonp"]
)
def test_the_content_type_must_be_json(shared_issuer: LiveIssuer, operation: str, content_type: str) -> None:
    response = shared_issuer.request("POST", f"/_mock/{operation}", data="{}", headers={"Content-Type": content_type})
    assert "application/json" in error_description(response, operation)


def test_a_content_type_may_have_a_parameter(shared_issuer: LiveIssuer) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert shared_issuer.request("POST", "/_mock/reset", data="{}", headers=headers).status_code == 200


WRONG = {
    "string": [1, True, [], {}, 1.5],
    "integer": ["1", 1.5, True, [], {}],
    "number": ["1", True, [], {}],
    "boolean": ["true", 1, 0, [], {}],
    "object": ["{}", 1, [], True],
}


@pytest.mark.parametrize("operation", POSTS)
def test_every_argument_has_its_type(shared_issuer: LiveIssuer, operation: str) -> None:
    body = resolved(CONTRACT["paths"][f"/_mock/{operation}"]["post"]["requestBody"])
    for name, schema in body["content"]["application/json"]["schema"].get("properties", {}).items():
        if "enum" in schema:
            wrong: list[Any] = ["other", 1, [], {}, ["approve"]]
        else:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            wrong = WRONG[types[0]] + ([] if "null" in types else [None])
        for value in wrong:
            assert name in error_description(do(shared_issuer, operation, **{name: value}), operation), (name, value)


def test_all_mistakes_are_reported_together(shared_issuer: LiveIssuer) -> None:
    words = error_description(do(shared_issuer, "approve", user=5, other=1), "approve")
    for mistake in ("other is not known", "user is not a string", "user_code is missing"):
        assert mistake in words


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("token", '{"expires_in": NaN}'),
        ("token", '{"expires_in": Infinity}'),
        ("token", '{"expires_in": -1e400}'),
        ("token", '{"expires_in": 1%s}' % ("0" * 400)),
        ("token", '{"machine": true, "sub": "x"}'),
        ("withdraw_key", '{"kid": "unknown"}'),
        ("jwks_fault", '{"status": 99}'),
        ("jwks_fault", '{"delay": NaN}'),
        ("jwks_fault", '{"redirect": "a\\nb"}'),
        ("jwks_fault", '{"body": "\\ud800"}'),
        ("approve", '{"user_code": "WRON-GCOD"}'),
        ("approve", '{"user_code": "\\ud800\\u0000"}'),
        ("deny", '{"user_code": ""}'),
        ("expire", '{"user_code": "é"}'),
        ("script", '{"after_polls": -1}'),
        ("script", '{"outcome": "approve", "user": "nobody"}'),
        ("users/remove", '{"user": "nobody"}'),
        ("advance_clock", '{"seconds": -1}'),
        ("advance_clock", '{"seconds": NaN}'),
        ("advance_clock", '{"seconds": 1e400}'),
        ("advance_clock", '{"seconds": 1%s}' % ("0" * 400)),
    ],
)
def test_impossible_operations_are_refused(shared_issuer: LiveIssuer, operation: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert error_description(
        shared_issuer.request("POST", f"/_mock/{operation}", data=body.encode(), headers=headers), operation
    )


def test_the_answer_to_an_unknown_operation_lists_the_known_ones(shared_issuer: LiveIssuer) -> None:
    for operation in ("nothing", "__init__", "_user", "clock", "hostile.x", "é"):
        response = do(shared_issuer, operation)
        assert shared_issuer.refused(response) == (404, "not_found")
        assert "rotate_keys" in response.json()["error_description"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_operations_accept_post_only(shared_issuer: LiveIssuer, method: str) -> None:
    for operation in POSTS:
        response = shared_issuer.request(method, f"/_mock/{operation}")
        assert shared_issuer.refused(response) == (405, "invalid_request")
        assert "POST" in header_of(response, "Allow")


def test_the_query_of_hostile_is_checked(shared_issuer: LiveIssuer) -> None:
    response = shared_issuer.get("/_mock/hostile", params={"scopes": "x"})
    assert shared_issuer.refused(response) == (400, "invalid_request")
    assert "scopes is not known" in response.json()["error_description"]


def test_pages_of_other_origins_cannot_call(shared_issuer: LiveIssuer) -> None:
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for headers in (preflight, {"Origin": "https://evil.example"}):
        response = shared_issuer.request("OPTIONS", "/_mock/token", headers=headers)
        assert not {name for name in response.headers if name.lower().startswith("access-control-")}


def test_a_rule_that_fails_leaks_nothing(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    def broken(*_: object) -> None:
        raise LookupError("what-only-the-log-knows")

    issuer = make_issuer(Config(rules=(broken,)))
    response = do(issuer, "approve", user_code=issuer.device()["user_code"])
    assert issuer.refused(response) == (500, "server_error")
    assert "only-the-log" not in response.text


# Access to the controls


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def serve(**options: Any) -> str:
            server = stack.enter_context(Server(**options))
            return f"http://127.0.0.1:{server.url.rstrip('/').rpartition(':')[2]}/_mock/"

        yield serve


def statuses(url: str) -> set[int]:
    found = {requests.post(url + operation, json={}, timeout=10).status_code for operation in (*POSTS, "nothing")}
    return found | {requests.get(url + operation, timeout=10).status_code for operation in GETS}


def test_the_controls_are_refused_off_loopback_and_if_disabled(served: Callable[..., str]) -> None:
    for options in ({"host": "0.0.0.0"}, {"allow_control": False}):
        url = served(**options)
        assert statuses(url) == {403}
        response = requests.post(url + "token", json={}, timeout=10)
        assert response.json()["error"] == "access_denied"
        assert "--allow-control" in response.json()["error_description"]
        assert "eyJ" not in response.text


def test_allow_control_serves_every_host(served: Callable[..., str]) -> None:
    assert requests.post(served(host="0.0.0.0", allow_control=True) + "token", json={}, timeout=10).ok


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1"])
def test_the_controls_answer_on_every_loopback_host(host: str) -> None:
    with Server(host=host) as server:
        assert requests.post(server.url + "_mock/token", json={}, timeout=10).ok


@pytest.fixture(scope="module")
def allowing() -> Iterator[Server]:
    with Server(allow_control=True) as server:
        yield server


@pytest.fixture(scope="module")
def named() -> Iterator[Server]:
    with Server(issuer="http://issuer.test/") as server:
        yield server


def statuses_of_host(server: Server, host: str) -> list[int]:
    """Return the statuses of two controls for this Host; the playground must show the same."""
    headers = {"Host": host}
    statuses = [requests.post(server.url + "_mock/token", json={}, headers=headers, timeout=10).status_code]
    statuses.append(requests.get(server.url + "_mock/hostile", headers=headers, timeout=10).status_code)
    page = requests.get(server.url + "playground", headers=headers, timeout=10).text
    assert ('"controls": true' in page) == (statuses == [200, 200])
    return statuses


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9000", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "a b", "é"],
)
def test_another_host_name_for_loopback_is_refused(shared_issuer: LiveIssuer, allowing: Server, host: str) -> None:
    # DNS rebinding: to the browser, the attacker's page and this server have the same origin.
    assert statuses_of_host(shared_issuer.server, host) == [403, 403]
    assert statuses_of_host(allowing, host) == [200, 200]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:9", "[::1]:9000"])
def test_loopback_hosts_are_accepted(named: Server, host: str) -> None:
    assert statuses_of_host(named, host) == [200, 200]


def test_the_issuers_own_public_host_is_refused(named: Server) -> None:
    # A reverse proxy on this machine passes the public Host on, and connects from loopback.
    for host in ("issuer.test", "issuer.test:9000"):
        assert statuses_of_host(named, host) == [403, 403]


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via"]
)
def test_a_request_through_a_proxy_is_refused(named: Server, allowing: Server, header: str) -> None:
    # nginx replaces Host by the address that it connects to, unless it is told not to.
    for server, status in ((named, 403), (allowing, 200)):
        response = requests.post(server.url + "_mock/token", json={}, headers={header: "192.0.2.1"}, timeout=10)
        assert response.status_code == status


def test_create_app_allows_no_controls() -> None:
    assert create_app().test_client().post("/_mock/token", json={}).status_code == 403
