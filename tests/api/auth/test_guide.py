"""The copy guide's own code runs."""

import re
from typing import Any

from flask import Flask

from api.auth import require_auth
from tests.kit.headers import header_of
from tests.kit.processes import ROOT

GUIDE = (ROOT / "api" / "auth" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_three_steps_make_a_protected_application() -> None:
    application, route, _ = BLOCKS
    names: dict[str, Any] = {"__name__": __name__}
    exec((application + route).replace("your_service.auth", "api.auth"), names)
    app = names["app"]
    assert isinstance(app, Flask)
    assert app.test_client().get("/health").status_code == 200
    response = app.test_client().get("/things")
    assert response.status_code == 401
    assert header_of(response, "WWW-Authenticate").startswith('Bearer realm="api"')


def test_its_routes_are_all_declared() -> None:
    application, route, _ = BLOCKS
    names: dict[str, Any] = {"__name__": __name__}
    exec((application + route).replace("your_service.auth", "api.auth"), names)
    result = names["app"].test_cli_runner().invoke(args=["auth", "routes"])
    assert result.exit_code == 0, result.output


def test_every_requirement_that_it_shows_can_be_made() -> None:
    lines = [line.partition("#")[0].strip() for line in BLOCKS[2].splitlines()]
    assert len(lines) == 8
    for line in lines:
        made = eval(line, {"require_auth": require_auth})
        assert made.requirement is not None


def test_its_shell_lines_name_the_dependencies_of_the_folder() -> None:
    (shell,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert set(re.findall(r'"([a-z]+)>=', shell)) == {"flask", "pyjwt", "cryptography", "cachetools"}
