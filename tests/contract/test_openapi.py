"""openapi.yaml against the application, both ways: what the one names, the other has."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from marshmallow import Schema
from openapi_spec_validator import validate
from werkzeug.routing import Rule

from api.auth import requirements_of
from api.devices import schemas
from api.devices.cursors import encode_cursor
from api.fields import QueryInteger, Timestamp
from api.me import MeSchema
from tests.kit.key_server import KeyServer, document
from tests.kit.running_api import Bearer

BODIES: dict[str, type[Schema]] = {
    "Device": schemas.DeviceSchema,
    "DeviceList": schemas.DeviceListSchema,
    "Reading": schemas.ReadingSchema,
    "ReadingList": schemas.ReadingListSchema,
    "Me": MeSchema,
}
QUERIES: dict[str, type[Schema] | None] = {
    "/v1/devices": schemas.DevicesQuery,
    "/v1/devices/{device_id}/readings": schemas.ReadingsQuery,
}
METHODS = {"get", "post", "put", "patch", "delete"}


def resolve(contract: Any, node: Any) -> Any:
    """Return the node that a reference leads to, with every reference below it replaced as well."""
    if isinstance(node, list):
        return [resolve(contract, item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = contract
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return resolve(contract, target)
    return {name: resolve(contract, value) for name, value in node.items()}


def operations(contract: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
                yield path, method, resolve(contract, {**operation, "parameters": parameters})


def rules(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield path, method.lower(), rule


def test_it_is_valid(contract: Any) -> None:
    validate(contract)


def test_it_names_every_route_and_no_other(contract: Any, app: Flask) -> None:
    assert {(path, method) for path, method, _ in operations(contract)} == {
        (path, method) for path, method, _ in rules(app)
    }


def test_its_scopes_are_those_of_the_decorators(contract: Any, app: Flask) -> None:
    asked = {
        (path, method): [{"bearer": [scope for one in found for scope in one.scopes]}] if found else []
        for path, method, rule in rules(app)
        for found in [requirements_of(app, rule.endpoint, method)]
    }
    assert asked == {(path, method): operation["security"] for path, method, operation in operations(contract)}


def test_operations_are_named_once(contract: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations(contract)]
    assert len(set(names)) == len(names)


# Schemas


def generated(schema: type[Schema]) -> Any:
    """Return what apispec makes of a marshmallow schema, in the words that the contract uses."""
    plugin = MarshmallowPlugin()
    spec = APISpec("x", "1", "3.1.0", plugins=[plugin])
    plugin.map_to_openapi_type(Timestamp, "string", "date-time")  # type: ignore[no-untyped-call]  # theirs
    plugin.map_to_openapi_type(QueryInteger, "integer", None)  # type: ignore[no-untyped-call]  # theirs
    spec.components.schema("Under test", schema=schema)
    made = spec.to_dict()
    return plain(resolve(made, made["components"]["schemas"]["Under test"]))


def plain(node: Any) -> Any:
    """Leave out what only one of the two sides says: texts, and what apispec cannot know."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: plain(value) for name, value in node.items() if name not in LEFT_OUT}
    if isinstance(kept.get("type"), list):
        kept["type"] = sorted(kept["type"])
    if "required" in kept and isinstance(kept["required"], list):
        kept["required"] = sorted(kept["required"])
    return kept


LEFT_OUT = {"description", "additionalProperties", "pattern"}


@pytest.mark.parametrize("name", BODIES)
def test_its_bodies_are_those_of_the_schemas(contract: Any, name: str) -> None:
    written = resolve(contract, contract["components"]["schemas"][name])
    assert plain(written) == generated(BODIES[name])
    assert written["additionalProperties"] is False


def test_every_schema_of_the_code_is_compared() -> None:
    defined = {
        value
        for value in vars(schemas).values()
        if isinstance(value, type) and issubclass(value, Schema) and value is not Schema
    }
    assert defined | {MeSchema} == {*BODIES.values(), *QUERIES.values()}


def test_its_query_parameters_are_those_of_the_schemas(contract: Any) -> None:
    for path, _, operation in operations(contract):
        written = {one["name"]: plain(one["schema"]) for one in operation["parameters"] if one["in"] == "query"}
        schema = QUERIES.get(path)
        properties = generated(schema)["properties"] if schema else {}
        made = {name: {k: v for k, v in one.items() if (k, v) != ("default", None)} for name, one in properties.items()}
        assert written == made, path


def test_its_error_codes_are_those_of_the_code(contract: Any) -> None:
    from api.auth import AuthError
    from api.problems import _HTTP_ERRORS, _UNNAMED_ERROR

    def below(kind: type[AuthError]) -> Iterator[type[AuthError]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    codes = {kind.error or "missing_credentials" for kind in below(AuthError)}
    codes |= {error for error, _ in [*_HTTP_ERRORS.values(), _UNNAMED_ERROR]} | {"internal_error"}
    assert set(contract["components"]["schemas"]["Problem"]["properties"]["error"]["enum"]) == codes


# Examples and answers


def check(schema: Any, instance: Any) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance)


def test_its_examples_are_what_they_are_examples_of(contract: Any) -> None:
    seen = 0
    for _, _, operation in operations(contract):
        for status, response in operation["responses"].items():
            for media_type, content in response["content"].items():
                check(content["schema"], content["example"])
                assert (media_type == "application/problem+json") == (int(status) >= 400)
                if int(status) >= 400:
                    assert content["example"]["status"] == int(status)
                seen += 1
    assert seen > 20


def answers(client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> Iterator[tuple[str, Any]]:
    """Yield the contract's path of a request, and what the application answered."""
    devices = client.get("/v1/devices", headers=bearer()).get_json()["items"]
    device = f"/v1/devices/{devices[1]['id']}"
    unknown = "/v1/devices/dev_00000000000000000000"
    paths = {
        "/v1/me": ["/v1/me"],
        "/v1/devices": ["/v1/devices", "/v1/devices?limit=2", "/v1/devices?limit=0", "/v1/devices?x=1"],
        "/v1/devices/{device_id}": [device, unknown, f"{device}?x=1"],
        "/v1/devices/{device_id}/readings": [f"{device}/readings", f"{unknown}/readings", f"{device}/readings?from=x"],
        "/.well-known/oauth-protected-resource": ["/.well-known/oauth-protected-resource"],
        "/livez": ["/livez"],
        "/readyz": ["/readyz"],
        "/metrics": ["/metrics"],
    }
    for template, addresses in paths.items():
        for address in addresses:
            for headers in (
                bearer(),
                bearer(scope="none"),
                bearer(exp=1),
                {},
                {"Authorization": "Bearer"},
                {**bearer(), "Host": 'a"b'},
            ):
                yield template, client.get(address, headers=headers)
    key_server.break_keys(document(b"", status=500))
    other_key = {"Authorization": bearer()["Authorization"].replace("Bearer ey", "Bearer ez")}
    yield "/v1/me", client.get("/v1/me", headers=other_key)


def test_every_answer_is_as_it_says(contract: Any, client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> None:
    described = {path: operation for path, method, operation in operations(contract) if method == "get"}
    seen = set()
    for path, response in answers(client, bearer, key_server):
        status = str(response.status_code)
        assert status in described[path]["responses"], (path, status, response.get_json())
        expected = described[path]["responses"][status]
        (media_type,) = expected["content"]
        assert response.mimetype == media_type
        body = response.get_json() if response.is_json else response.get_data(as_text=True)
        check(expected["content"][media_type]["schema"], body)
        for name, header in expected["headers"].items():
            value: Any = response.headers[name]
            check(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
        assert ("WWW-Authenticate" in response.headers) >= (status in {"401", "403"})
        seen.add((path, status))
    promised = {(path, status) for path, operation in described.items() for status in operation["responses"]}
    # What is left is asked for where the outage can be made: test_health.py and test_key_cache.py.
    assert {status for _, status in promised - seen} <= {"503"}


def test_a_cursor_is_no_longer_than_it_says(contract: Any) -> None:
    from datetime import UTC, datetime

    from api.devices.cursors import Position

    longest = encode_cursor("readings", Position(datetime.max.replace(tzinfo=UTC), "x" * 64))
    assert len(longest) <= contract["components"]["parameters"]["cursor"]["schema"]["maxLength"]
