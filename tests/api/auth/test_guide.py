"""The copy guide's own code runs."""

import re
from pathlib import Path
from typing import Any

from flask import Flask

import api.auth
from api.auth import AuthConfig, TokenVerifier, TrustedIssuer, issuers, require_auth
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE

# Beside the package: with the option --auth-copy, a copy's own guide.
GUIDE = Path(api.auth.__file__).with_name("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_three_steps_make_a_protected_application() -> None:
    application, route = BLOCKS[:2]
    names: dict[str, Any] = {"__name__": __name__}
    exec((application + route).replace("your_service.auth", "api.auth"), names)
    app = names["app"]
    assert isinstance(app, Flask)
    assert app.test_client().get("/health").status_code == 200
    response = app.test_client().get("/things")
    assert response.status_code == 401
    assert header_of(response, "WWW-Authenticate").startswith('Bearer realm="api"')


def test_its_routes_are_all_declared() -> None:
    application, route = BLOCKS[:2]
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
    shell, *_ = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert set(re.findall(r'"([a-z]+)>=', shell)) == {"flask", "pyjwt", "cryptography", "cachetools"}


def test_without_flask_it_returns_the_answer(key_server: KeyServer, bearer: Bearer) -> None:
    section = GUIDE.partition("\n## Without Flask\n")[2]
    block = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(block.replace("your_service.auth", "api.auth"), names)
    list_things = names["list_things"]
    # As printed. Neither request reaches the issuer that the guide names.
    challenge = 'Bearer realm="your-api", scope="read:things"'
    assert list_things(None, "")[:2] == (401, {"Cache-Control": "no-store", "WWW-Authenticate": challenge})
    assert list_things("Bearer abc", "access_token=abc")[0] == 400
    issuer = TrustedIssuer(identifier=key_server.issuer, audiences=(AUDIENCE,), subject_required=False)
    names["verifier"] = TokenVerifier(AuthConfig(issuers=(issuer,)))
    good = bearer(scope="read:things")["Authorization"]
    assert list_things(good, "") == (200, {}, "things of user-1")
    without_subject = bearer(scope="read:things", sub=None)["Authorization"]
    status, headers, detail = list_things(without_subject, "")
    assert status == 401
    assert headers["WWW-Authenticate"] == (
        f'Bearer realm="your-api", error="invalid_token", error_description="{detail}"'
    )
    status, headers, detail = list_things(bearer()["Authorization"], "")
    assert status == 403
    assert headers["WWW-Authenticate"] == (
        f'Bearer realm="your-api", error="insufficient_scope", error_description="{detail}", scope="read:things"'
    )


def test_it_shows_every_preset_and_each_can_be_made() -> None:
    (block,) = (block for block in BLOCKS if block.startswith("issuers."))
    made = [eval(line, {"issuers": issuers}) for line in block.splitlines()]
    assert all(isinstance(issuer, TrustedIssuer) for issuer in made)
    assert re.findall(r"^issuers\.(\w+)", block, re.MULTILINE) == list(issuers.PRESETS)
    table = GUIDE.split("## Your issuer's settings")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(issuers.PRESETS)


def test_the_rules_that_it_shows_can_be_made() -> None:
    (block,) = (block for block in BLOCKS if block.startswith("TrustedIssuer("))
    assert isinstance(eval(block, {"TrustedIssuer": TrustedIssuer}), TrustedIssuer)
