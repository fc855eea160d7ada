"""openapi.yaml and the application agree, in both directions. "It" is openapi.yaml."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from marshmallow import Schema, ValidationError
from openapi_spec_validator import validate
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.app import create_app
from api.auth import requirements_of
from api.auth.requirement import Requirement
from api.database.schema import upgrade
from api.devices import schemas
from api.devices.cursors import encode_cursor
from api.devices.models import METRICS
from api.me import MeSchema
from api.problems.catalogue import PROBLEM_TYPES
from api.settings import Settings
from api.web.body import BodySchema
from api.web.fields import Number, QueryInteger, Text, Timestamp
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer, document
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer
from tests.kit.signing import claims, rsa_key

BODIES: dict[str, type[Schema]] = {
    "Device": schemas.DeviceSchema,
    "NewDevice": schemas.NewDeviceSchema,
    "DeviceChanges": schemas.DeviceChangesSchema,
    "DeviceList": schemas.DeviceListSchema,
    "Reading": schemas.ReadingSchema,
    "ReadingList": schemas.ReadingListSchema,
    "ReadingBatch": schemas.ReadingBatchSchema,
    "ReadingBatchResult": schemas.ReadingBatchResultSchema,
    "Me": MeSchema,
}
QUERIES: dict[tuple[str, str], type[Schema]] = {
    ("/v1/devices", "get"): schemas.DevicesQuery,
    ("/v1/devices/{device_id}/readings", "get"): schemas.ReadingsQuery,
}
METHODS = {"get", "post", "put", "patch", "delete"}


def resolve(contract: Any, node: Any) -> Any:
    """Return a node with all references resolved, recursively."""
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


def alternatives(requirements: tuple[Requirement, ...]) -> list[dict[str, list[str]]]:
    """Return the requirements as OpenAPI's `security`: alternatives, each with all its scopes."""
    if not requirements:
        return []
    (one,) = requirements
    return [{"bearer": [*one.scopes, *alternative]} for alternative in ([scope] for scope in one.any_of)] or [
        {"bearer": list(one.scopes)}
    ]


def test_its_scopes_are_those_of_the_decorators(contract: Any, app: Flask) -> None:
    required = {
        (path, method): alternatives(requirements_of(app, rule.endpoint, method)) for path, method, rule in rules(app)
    }
    assert required == {(path, method): operation["security"] for path, method, operation in operations(contract)}


def test_its_operation_ids_are_unique(contract: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations(contract)]
    assert len(set(names)) == len(names)


# Schemas


def generated(schema: type[Schema]) -> Any:
    """Return a marshmallow schema as apispec converts it, in the style of the contract."""
    plugin = MarshmallowPlugin()
    spec = APISpec("x", "1", "3.1.0", plugins=[plugin])
    plugin.map_to_openapi_type(Timestamp, "string", "date-time")  # type: ignore[no-untyped-call]  # apispec has no types
    plugin.map_to_openapi_type(Number, "number", None)  # type: ignore[no-untyped-call]  # apispec has no types
    plugin.map_to_openapi_type(QueryInteger, "integer", None)  # type: ignore[no-untyped-call]  # apispec has no types
    spec.components.schema("Under test", schema=schema)
    made = spec.to_dict()
    return plain(resolve(made, made["components"]["schemas"]["Under test"]))


def plain(node: Any) -> Any:
    """Drop what only one side has: descriptions, and what apispec cannot derive."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: plain(value) for name, value in node.items() if name not in NOT_COMPARED}
    if isinstance(kept.get("type"), list):
        kept["type"] = sorted(kept["type"])
    if "required" in kept and isinstance(kept["required"], list):
        kept["required"] = sorted(kept["required"])
    return kept


# The units of metrics are compared by another test.
NOT_COMPARED = {"description", "additionalProperties", "pattern", "oneOf"}


def test_its_metrics_have_their_units(contract: Any) -> None:
    pairs = {
        metric: pair["properties"]["unit"]["const"]
        for pair in contract["components"]["schemas"]["Reading"]["oneOf"]
        for metric in pair["properties"]["metric"]["enum"]
    }
    assert pairs == METRICS


@pytest.mark.parametrize("name", BODIES)
def test_its_bodies_are_those_of_the_schemas(contract: Any, name: str) -> None:
    written = resolve(contract, contract["components"]["schemas"][name])
    assert plain(written) == generated(BODIES[name])
    assert written["additionalProperties"] is False


@pytest.mark.parametrize("name", ["DeviceText", "DeviceLocation"])
def test_its_texts_exclude_the_same_characters(contract: Any, name: str) -> None:
    pattern = re.compile(contract["components"]["schemas"][name]["pattern"].replace("$", r"\Z"))
    field = Text(max_chars=1)
    for character in (chr(number) for number in range(0x20000) if not 0xD800 <= number < 0xE000):
        try:
            field.deserialize(character)
        except ValidationError:
            assert not pattern.match(character), hex(ord(character))
        else:
            assert pattern.match(character), hex(ord(character))


def test_every_schema_of_the_code_is_compared() -> None:
    defined = {
        value
        for value in vars(schemas).values()
        if isinstance(value, type) and issubclass(value, Schema) and value not in {Schema, BodySchema}
    }
    assert defined | {MeSchema} == {*BODIES.values(), *QUERIES.values()}


def test_its_query_parameters_are_those_of_the_schemas(contract: Any) -> None:
    for path, method, operation in operations(contract):
        written = {one["name"]: plain(one["schema"]) for one in operation["parameters"] if one["in"] == "query"}
        schema = QUERIES.get((path, method))
        properties = generated(schema)["properties"] if schema else {}
        made = {name: {k: v for k, v in one.items() if (k, v) != ("default", None)} for name, one in properties.items()}
        assert written == made, path


def test_its_error_codes_are_those_of_the_catalogue(contract: Any) -> None:
    # `not_ready` has another schema, with the checks.
    assert set(contract["components"]["schemas"]["Problem"]["properties"]["error"]["enum"]) == {*PROBLEM_TYPES} - {
        "not_ready"
    }


# Examples and answers


def check(schema: Any, instance: Any) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance)


def test_its_examples_match_their_schemas(contract: Any) -> None:
    seen = 0
    for _, _, operation in operations(contract):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                check(content["schema"], content["example"])
                assert (media_type == "application/problem+json") == (int(status) >= 400)
                if int(status) >= 400:
                    example = content["example"]
                    kind = PROBLEM_TYPES[example["error"]]
                    assert example["status"] == int(status)
                    assert int(status) in kind.statuses
                    assert (example["type"], example["title"]) == (f"/problems/{kind.slug}", kind.title)
                seen += 1
        for content in operation.get("requestBody", {}).get("content", {}).values():
            check(content["schema"], content["example"])
        for parameter in operation["parameters"]:
            if "example" in parameter:
                check(parameter["schema"], parameter["example"])
    assert seen > 40


def answers(client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> Iterator[tuple[str, str, Any]]:
    """Yield path and method in the contract, and a response of the application."""
    devices = client.get("/v1/devices", headers=bearer()).get_json()["items"]
    device = f"/v1/devices/{devices[1]['id']}"
    unknown = "/v1/devices/dev_00000000000000000000"
    paths = {
        "/v1/me": ["/v1/me"],
        "/v1/devices": ["/v1/devices", "/v1/devices?limit=2", "/v1/devices?limit=0", "/v1/devices?x=1"],
        "/v1/devices/{device_id}": [device, unknown, f"{device}?x=1"],
        "/v1/devices/{device_id}/readings": [f"{device}/readings", f"{unknown}/readings", f"{device}/readings?from=x"],
        "/.well-known/oauth-protected-resource": ["/.well-known/oauth-protected-resource"],
        "/openapi.yaml": ["/openapi.yaml"],
        "/openapi.json": ["/openapi.json"],
        "/": ["/"],
        "/docs": ["/docs"],
        "/docs/{file}": [
            *(f"/docs/{name}" for name in ("docs.css", "docs.js", "pages.css", "favicon-32x32.png")),
            *("/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.js", "/docs/..%2fcontract.py"),
        ],
        "/problems": ["/problems"],
        "/problems/{name}": ["/problems/insufficient-scope", "/problems/insufficient_scope"],
        "/livez": ["/livez"],
        "/readyz": ["/readyz"],
        "/metrics": ["/metrics"],
    }
    for template, addresses in paths.items():
        for address in addresses:
            for headers in (*callers(bearer, bearer()), {**bearer(), "Host": 'a"b'}):
                yield template, "get", client.get(address, headers=headers)
    tag = header_of(client.get(device, headers=bearer()), "ETag")
    for condition in ({"If-None-Match": tag}, {"If-Match": '"0"'}):
        yield "/v1/devices/{device_id}", "get", client.get(device, headers={**bearer(), **condition})
    for template, method, address, body in writes(device, unknown):
        for headers in callers(bearer, bearer(scope="write:devices write:readings")):
            yield template, method, client.open(address, method=method, headers=headers, json=body)
        for data, media_type in ((b"{", "application/json"), (b"{}", "text/plain"), (b" " * 2**21, "application/json")):
            answer = client.open(
                address, method=method, headers=writer_headers(bearer), data=data, content_type=media_type
            )
            yield template, method, answer
        late = {**writer_headers(bearer), "If-Match": '"0"'}
        yield template, method, client.open(address, method=method, headers=late, json=body)
    for condition in ({"If-Match": '"0"'}, {}):
        answer = client.delete(device, headers={**writer_headers(bearer), **condition})
        yield "/v1/devices/{device_id}", "delete", answer
    key_server.break_keys(document(b"", status=500))
    unknown_key = {"Authorization": f"Bearer {rsa_key(1, 'unknown').sign(claims(iss=key_server.issuer))}"}
    answer = client.get("/v1/me", headers=unknown_key)
    assert "Retry-After" in answer.headers
    yield "/v1/me", "get", answer


UNDESCRIBED_HEADERS = {"Content-Type", "Content-Length"}


def writer_headers(bearer: Bearer) -> dict[str, str]:
    return bearer(scope="write:devices write:readings")


def callers(bearer: Bearer, good: dict[str, str]) -> Iterator[dict[str, str]]:
    yield from (good, bearer(scope="none"), bearer(exp=1), {}, {"Authorization": "Bearer"})


def writes(device: str, unknown: str) -> Iterator[tuple[str, str, str, Any]]:
    """Yield path and method in the contract, URL and body of requests that change something."""
    new = {"name": "Lamp", "kind": "sensor", "model": "M"}
    batch = {"readings": [{"time": "2026-11-21T10:00:00Z", "metric": "power", "value": 1, "unit": "W"}]}
    for body in (new, {}):
        yield "/v1/devices", "post", "/v1/devices", body
    for address in (device, unknown):
        for changes in ({"name": "x"}, {"name": 1}):
            yield "/v1/devices/{device_id}", "patch", address, changes
        for readings in (batch, {}):
            yield "/v1/devices/{device_id}/readings", "post", f"{address}/readings", readings
    yield "/v1/devices/{device_id}", "delete", unknown, None


def check_response(described: dict[tuple[str, str], Any], path: str, method: str, response: TestResponse) -> str:
    """Return the status of a response, which matches its description."""
    status = str(response.status_code)
    assert status in described[path, method]["responses"], (path, method, status, response.get_data())
    expected = described[path, method]["responses"][status]
    text = response.get_data().decode("latin-1")
    if "content" in expected:
        media_type = response.mimetype or ""
        assert media_type in expected["content"]
        body = yaml.safe_load(text) if media_type.endswith(("json", "yaml")) else text
        check(expected["content"][media_type]["schema"], body)
    else:
        assert (text, response.headers.get("Content-Type")) == ("", None)
    for name, header in expected["headers"].items():
        if not header.get("required") and name not in response.headers:
            continue
        value: Any = header_of(response, name)
        check(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
    # It describes every other header.
    assert set(response.headers.keys()) <= {*expected["headers"], *UNDESCRIBED_HEADERS}, (path, method, status)
    assert ("WWW-Authenticate" in response.headers) >= (status in {"401", "403"})
    return status


def test_every_response_matches_it(contract: Any, client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> None:
    described = {(path, method): operation for path, method, operation in operations(contract)}
    seen = set()
    for path, method, response in answers(client, bearer, key_server):
        status = check_response(described, path, method, response)
        seen.add((path, method, status))
    described_statuses = {
        (*where, status) for where, operation in described.items() for status in operation["responses"]
    }
    # Other tests cause the rest: test_health.py and test_key_cache.py (503), test_rate_limits.py (429), and
    # test_worker.py (414 and 431, from gunicorn).
    assert {one for one in described_statuses - seen if one[-1] not in {"414", "429", "431", "503"}} == set()


@pytest.mark.needs("redis-server")
def test_responses_with_and_without_the_revocations_match_it(
    contract: Any, settings: Settings, bearer: Bearer, request: pytest.FixtureRequest
) -> None:
    described = {(path, method): operation for path, method, operation in operations(contract)}
    upgrade(settings.database_url)
    with RedisServer() as redis:
        for expected in ("200", "503"):
            app = create_app(replace(settings, redis_url=redis.url))
            request.addfinalizer(app.extensions["device_store"].close)
            request.addfinalizer(app.extensions["revocations"].close)
            for path in ("/readyz", "/v1/me"):
                response = app.test_client().get(path, headers=bearer())
                assert check_response(described, path, "get", response) == expected
            redis.stop()


def test_a_cursor_fits_its_max_length(contract: Any) -> None:
    from datetime import UTC, datetime

    from api.devices.cursors import Listing, Position

    listing = Listing("readings", "i" * 500, "s" * 255, everyone=False, device_id=None, filters=("f", "f"))
    longest = encode_cursor(bytes(32), listing, Position(datetime.max.replace(tzinfo=UTC), "x" * 64))
    assert len(longest) <= contract["components"]["parameters"]["cursor"]["schema"]["maxLength"]
