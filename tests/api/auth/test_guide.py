"""The copy guide's own code runs."""

import ast
import builtins
import dataclasses
import re
from pathlib import Path
from typing import Any

from flask import Flask

import api.auth
from api.auth import AccessToken, Auth, AuthConfig, TokenVerifier, TrustedIssuer, issuers, require_auth
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


def test_it_shows_how_to_accept_tokens_that_are_bound_to_a_key() -> None:
    (block,) = (block for block in BLOCKS if "DPoP()" in block)
    issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=("a",))
    app = Flask("your_service")
    names = {"Auth": Auth, "app": app, "verifier": TokenVerifier(AuthConfig(issuers=(issuer,)))}
    exec(block.replace("your_service.auth", "api.auth"), names)
    app.add_url_rule("/things", "things", require_auth(dpop="required")(lambda: "things"))
    challenge = header_of(app.test_client().get("/things"), "WWW-Authenticate")
    assert challenge == 'DPoP realm="api", algs="ES256 EdDSA Ed25519 RS256 PS256"'


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


def test_the_code_for_other_frameworks_imports_what_it_names() -> None:
    section = GUIDE.partition("\n## Without Flask\n")[2].partition("\n## ")[0]
    core, *blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 3
    # `app` is the application of the reader.
    known = {"app", *dir(builtins), *names_of(core, ast.Store)}
    assert [sorted(names_of(block, ast.Load) - names_of(block, ast.Store) - known) for block in blocks] == [[], [], []]


def names_of(source: str, context: type[ast.expr_context]) -> set[str]:
    """Return the names that a program reads (ast.Load), or makes (ast.Store): by assignments, imports, functions."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
    if context is ast.Store:
        names |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
        names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return names


def test_what_it_says_of_the_token_is_there() -> None:
    (sentences,) = re.findall(
        r"^`current_token` is the verified `AccessToken`\. It has (.*?)\n\n", GUIDE, re.DOTALL | re.MULTILINE
    )
    names = re.findall(r"`(\w+)`", sentences.partition(". ")[0])
    assert {"issuer", "subject", "granted", "claims"} <= {*names}
    assert [name for name in names if not hasattr(AccessToken, name)] == []


def test_its_issuer_for_tests_can_be_made() -> None:
    (code,) = re.findall(r"`(dataclasses\.replace\(.*?\))`", GUIDE)
    issuer = issuers.auth0("tenant.eu.auth0.com", audience="a", jwks_url="https://keys.example/")
    made = eval(code, {"dataclasses": dataclasses, "issuer": issuer})
    # The rules stay; nothing leads to the vendor any more.
    assert (made.jwks_url, made.one_of_claims) == (None, issuer.one_of_claims)


def test_what_links_to_files_leads_to_files_of_the_folder() -> None:
    linked = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", GUIDE) if not link.startswith("https:")]
    assert "LICENSE" in linked
    assert [link for link in linked if ".." in link] == []


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


def test_it_shows_how_an_issuer_is_asked_about_opaque_tokens() -> None:
    section = GUIDE.partition("\n## Opaque tokens\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    issuer = issuers.auth0("tenant.eu.auth0.com", audience="a")
    names: dict[str, Any] = {"AuthConfig": AuthConfig, "TokenVerifier": TokenVerifier, "issuer": issuer, "secret": "s"}
    exec(block.replace("your_service.auth", "api.auth"), names)
    assert [one.identifier for one in names["verifier"]._introspectors] == [issuer.identifier]


def test_it_shows_how_certificates_are_accepted() -> None:
    from api.auth.mtls import MutualTLS

    (code,) = re.findall(r"`Auth\(…, mtls=(MutualTLS\(.*?\))\)`", GUIDE)
    assert eval(code, {"MutualTLS": MutualTLS}).trusts("127.0.0.1")
