"""The copy guide's lines for each framework protect what they say."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import grpc
import pytest
from django.http import HttpRequest, JsonResponse
from django.urls import path
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters import grpc_interceptor
from api.auth import AccessToken, Requirement
from tests.adapters.django_project import serving_django
from tests.adapters.reference import SOONER_SECONDS, bearer, get, make_verifier
from tests.adapters.servers import serving_asgi
from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT

GUIDE = (ROOT / "api" / "auth" / "README.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## Without Flask\n")[2].partition("\n## ")[0]
NO_FRAMEWORK, FASTAPI, DJANGO, GRPC = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
FASTAPI_VIEW = """
@app.get("/things")
async def list_things(token: ReadThings) -> dict[str, str]:
    return {"owner": token.subject}
"""


@pytest.fixture
def names(key_server: KeyServer) -> dict[str, Any]:
    """Return what the guide's lines find."""
    requirement = Requirement(scopes=("read:things",))
    return {"AccessToken": AccessToken, "requirement": requirement, "verifier": make_verifier(key_server)}


def run(lines: str, names: dict[str, Any]) -> None:
    exec(lines.replace("your_service.auth", "api.auth").replace("your_service.", "adapters."), names)


def assert_protected(origin: str, key_server: KeyServer) -> None:
    refused = get(origin, "/things")
    assert (refused.status, refused.challenge) == (401, 'Bearer realm="your-api", scope="read:things"')
    answer = get(origin, "/things", [bearer(key_server, scope="read:things")])
    assert (answer.status, answer.body) == (200, {"owner": "user-1"})


def test_its_lines_for_no_framework_do_not_block_starlette(names: dict[str, Any], key_server: KeyServer) -> None:
    verifier = names["verifier"]
    run(NO_FRAMEWORK, names)
    names["verifier"] = verifier

    def things(request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        status, headers, text = names["list_things"](request.headers.get("Authorization"), query)
        return Response(text, status, headers)

    async def open_to_all(_request: Request) -> Response:
        return Response("ok")

    asked = key_server.hang_keys()
    with (
        serving_asgi(Starlette(routes=[Route("/things", things), Route("/open", open_to_all)])) as origin,
        ThreadPoolExecutor() as pool,
    ):
        refused = get(origin, "/things")
        assert (refused.status, refused.challenge) == (401, 'Bearer realm="your-api", scope="read:things"')
        waiting = pool.submit(get, origin, "/things", [bearer(key_server)])
        assert asked.wait(timeout=10)
        asked_at = time.monotonic()
        assert get(origin, "/open").body == "ok"
        assert time.monotonic() - asked_at < SOONER_SECONDS
        key_server.released.set()
        assert waiting.result().status == 503


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
