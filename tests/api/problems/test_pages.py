import ast
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import AuthError
from api.problems.catalogue import PROBLEM_TYPES, ProblemType
from api.problems.problem import Problem
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT


def raised() -> Iterator[tuple[int, str]]:
    """Yield status and error code of each problem that a literal in the code names."""
    for path in (ROOT / "api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Problem", "_response"}:
                status, error = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(error, ast.Constant):
                    assert isinstance(status.value, int)
                    assert isinstance(error.value, str)
                    yield status.value, error.value


def auth_errors(kind: type[AuthError] = AuthError) -> Iterator[tuple[int, str]]:
    for child in kind.__subclasses__():
        yield child.status, child.error or "missing_credentials"
        yield from auth_errors(child)


def http_errors() -> Iterator[tuple[int, str]]:
    from api.problems.responses import _HTTP_ERRORS, _OTHER_HTTP_ERROR

    yield from ((status, error) for status, (error, _) in _HTTP_ERRORS.items())
    yield 406, _OTHER_HTTP_ERROR[0]


USED = {*raised(), *auth_errors(), *http_errors()}


@pytest.fixture
def key_server(shared_key_server: KeyServer) -> KeyServer:
    return shared_key_server


@pytest.fixture
def app(shared_app: Flask) -> Flask:
    return shared_app


def test_every_error_is_in_the_catalogue() -> None:
    assert len(USED) > 10
    for status, error in USED:
        assert error in PROBLEM_TYPES, error
        assert status in PROBLEM_TYPES[error].statuses, error


def test_every_problem_type_is_used() -> None:
    assert set(PROBLEM_TYPES) == {error for _, error in USED}


def test_a_problem_that_is_not_in_the_catalogue_warns() -> None:
    with pytest.warns(UserWarning, match="no_such_error with status 400 is not in the catalogue"):
        Problem(400, "no_such_error", "x")
    with pytest.warns(UserWarning, match="not_found with status 400 is not in the catalogue"):
        Problem(400, "not_found", "x")


def test_the_list_has_all_problem_types(client: FlaskClient) -> None:
    response = client.get("/problems")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    text = response.get_data(as_text=True)
    links = re.findall(r'<a href="problems/([a-z-]+)"><code>([a-z_]+)</code>', text)
    assert [error for _, error in links] == list(PROBLEM_TYPES)
    for slug, _ in links:
        assert client.get(f"/problems/{slug}").status_code == 200


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=PROBLEM_TYPES)
def test_each_problem_type_has_a_page(client: FlaskClient, kind: ProblemType) -> None:
    response = client.get(f"/problems/{kind.slug}")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "script-src" not in header_of(response, "Content-Security-Policy")
    assert "default-src 'none'" in header_of(response, "Content-Security-Policy")
    text = response.get_data(as_text=True)
    assert f"<code>{kind.error}</code>" in text
    assert all(str(status) in text for status in kind.statuses)
    assert "`" not in text
    assert "<script" not in text


@pytest.mark.parametrize("name", ["no-such-problem", "not_found", "<b>", "%2e%2e"])
def test_an_unknown_problem_type_is_a_404(client: FlaskClient, name: str) -> None:
    response = client.get(f"/problems/{name}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert response.get_json()["type"] == "/problems/not-found"
