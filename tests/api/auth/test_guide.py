"""The copy guide's own code runs."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import grpc
import pytest
from django.http import HttpRequest, JsonResponse
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask

from adapters import grpc_interceptor
from api.auth import AccessToken, require_auth
from tests.adapters.django_project import serving_django
from tests.adapters.reference import bearer, get, make_verifier
from tests.adapters.servers import serving_asgi
from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT

GUIDE = (ROOT / "api" / "auth" / "README.md").read_text(encoding="utf-8")
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
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="api"')


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
    (shell,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert set(re.findall(r'"([a-z]+)>=', shell)) == {"flask", "pyjwt", "cryptography", "cachetools"}


# Without Flask

WITHOUT_FLASK, FASTAPI, DJANGO, GRPC = re.findall(
    r"```python\n(.*?)```", GUIDE.partition("\n## Without Flask\n")[2].partition("\n## ")[0], re.DOTALL
)


@pytest.fixture
def names(key_server: KeyServer) -> dict[str, Any]:
    """Return the names that the block for no framework makes; its verifier asks the key server of this test."""
    names: dict[str, Any] = {}
    run(WITHOUT_FLASK, names)
    return {**names, "verifier": make_verifier(key_server), "AccessToken": AccessToken}


def run(block: str, names: dict[str, Any]) -> None:
    exec(block.replace("your_service.auth", "api.auth").replace("your_service.", "adapters."), names)


def test_without_a_framework_it_returns_the_answer(key_server: KeyServer) -> None:
    names: dict[str, Any] = {}
    run(WITHOUT_FLASK, names)
    no_store = {"Cache-Control": "no-store"}
    # As printed. Neither request reaches the issuer that the guide names.
    assert names["list_things"](None, "")[:2] == (
        401,
        {**no_store, "WWW-Authenticate": 'Bearer realm="your-api", scope="read:things"'},
    )
    assert names["list_things"]("Bearer abc", "access_token=abc")[0] == 400
    names["verifier"] = make_verifier(key_server)
    assert names["list_things"](bearer(key_server, scope="read:things"), "") == (200, {}, "things of user-1")
    status, headers, detail = names["list_things"](bearer(key_server), "")
    assert status == 403
    assert headers["WWW-Authenticate"] == (
        f'Bearer realm="your-api", error="insufficient_scope", error_description="{detail}", scope="read:things"'
    )


FASTAPI_VIEW = """
@app.get("/things")
async def list_things(token: ReadThings) -> dict[str, str]:
    return {"owner": token.subject}
"""


def assert_protected(origin: str, key_server: KeyServer) -> None:
    refused = get(origin, "/things")
    assert (refused.status, refused.challenge) == (401, 'Bearer realm="your-api", scope="read:things"')
    answer = get(origin, "/things", [bearer(key_server, scope="read:things")])
    assert (answer.status, answer.body) == (200, {"owner": "user-1"})


def test_its_lines_for_fastapi_protect_a_route(names: dict[str, Any], key_server: KeyServer) -> None:
    names |= {"Annotated": Annotated, "Depends": Depends, "app": FastAPI()}
    run(FASTAPI + FASTAPI_VIEW, names)
    with serving_asgi(names["app"]) as origin:
        assert_protected(origin, key_server)


def test_its_lines_for_django_protect_a_view(names: dict[str, Any], key_server: KeyServer) -> None:
    def list_things(_request: HttpRequest, token: AccessToken) -> JsonResponse:
        return JsonResponse({"owner": token.subject})

    names |= {"path": path, "list_things": list_things}
    run(DJANGO, names)
    with serving_django(names["urlpatterns"], is_async=False) as origin:
        assert_protected(origin, key_server)


def test_its_lines_for_grpc_protect_a_method(names: dict[str, Any], key_server: KeyServer) -> None:
    def list_things(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return grpc_interceptor.current_token.get().subject.encode()

    names |= {"grpc": grpc, "ThreadPoolExecutor": ThreadPoolExecutor}
    run(GRPC, names)
    server: grpc.Server = names["server"]
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"List": grpc.unary_unary_rpc_method_handler(list_things)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("things.Things", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/things.Things/List")
        with pytest.raises(grpc.RpcError, match="This needs an access token"):
            call(b"", timeout=30)
        metadata = (("authorization", bearer(key_server, scope="read:things")),)
        assert call(b"", metadata=metadata, timeout=30) == b"user-1"
    server.stop(grace=None).wait()
