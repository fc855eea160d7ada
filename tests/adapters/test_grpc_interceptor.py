"""Over real channels. The handlers take and return bytes, so that no generated code is needed."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import grpc
import pytest

from adapters.grpc_interceptor import AuthInterceptor, current_token
from api.auth import Requirement, TokenVerifier
from tests.adapters.reference import KEY, REALM, SOONER_SECONDS, bearer, make_verifier
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import jwks

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
REQUIREMENTS = {
    "/things.Things/Any": Requirement(),
    "/things.Things/Scoped": Requirement(scopes=("read:devices",)),
    "/things.Things/Other": Requirement(scopes=("write:devices",)),
    "/things.Things/Optional": Requirement(optional=True),
    "/things.Things/Open": None,
    **dict.fromkeys(
        (f"/things.Kinds/{kind}" for kind in ("UnaryStream", "StreamUnary", "StreamStream")), Requirement()
    ),
}


def subject() -> bytes:
    token = current_token.get(None)
    return (token.subject if token else "nobody").encode()


def unary(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return subject()


def stream(_request: Any, _context: grpc.ServicerContext) -> Iterator[bytes]:
    yield subject()
    yield subject()


def stream_unary(request: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
    return subject() + b"".join(request)


def services() -> list[grpc.GenericRpcHandler]:
    unary_method: Handler = grpc.unary_unary_rpc_method_handler(unary)
    methods = dict.fromkeys(("Any", "Scoped", "Other", "Optional", "Open", "Forgotten"), unary_method)
    kinds: dict[str, Handler] = {
        "UnaryStream": grpc.unary_stream_rpc_method_handler(stream),
        "StreamUnary": grpc.stream_unary_rpc_method_handler(stream_unary),
        "StreamStream": grpc.stream_stream_rpc_method_handler(stream),
        "ForgottenStream": grpc.stream_stream_rpc_method_handler(stream),
    }
    return [
        grpc.method_handlers_generic_handler("things.Things", methods),
        grpc.method_handlers_generic_handler("things.Kinds", kinds),
    ]


@contextmanager
def serving(verifier: TokenVerifier, *, threads: int = 2) -> Iterator[grpc.Channel]:
    """Run a server on loopback; yield a channel to it."""
    interceptor = AuthInterceptor(verifier, REQUIREMENTS, realm=REALM)
    with ThreadPoolExecutor(threads) as pool:
        server = grpc.server(pool, handlers=services(), interceptors=[interceptor])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            # A proxy of the environment is not for loopback.
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                yield channel
        finally:
            server.stop(grace=None).wait()


class Answer(NamedTuple):
    status: grpc.StatusCode
    body: bytes | None
    details: str
    metadata: dict[str, str]


def call(channel: grpc.Channel, method: str, authorizations: Sequence[str] = (), kind: str = "unary_unary") -> Answer:
    """Call a method; streams are sent as two messages and read to their end."""
    metadata = [("authorization", value) for value in authorizations]
    request: Any = b"?" if kind.startswith("unary") else iter([b"?", b"!"])
    multi_callable = getattr(channel, kind)(method)
    if kind.endswith("unary"):
        answered = multi_callable.future(request, metadata=metadata, timeout=30)
        body = answered.result() if answered.exception() is None else None
    else:
        answered = multi_callable(request, metadata=metadata, timeout=30)
        try:
            body = b"".join(answered)
        except grpc.RpcError:
            body = None
    trailing = {name: str(value) for name, value in answered.trailing_metadata() or ()}
    return Answer(answered.code(), body, answered.details() or "", trailing)


class Served(NamedTuple):
    channel: grpc.Channel
    key_server: KeyServer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with KeyServer() as key_server:
        key_server.publish(jwks(KEY))
        with serving(make_verifier(key_server)) as channel:
            yield Served(channel, key_server)


class Row(NamedTuple):
    what: str
    status: grpc.StatusCode
    challenge: str | None
    method: str
    authorizations: Callable[[KeyServer], tuple[str, ...]]


EXPIRED = 'error="invalid_token", error_description="The access token has expired."'
MALFORMED = (
    'error="invalid_request", '
    'error_description="The Authorization header must be the word Bearer, one space and one token."'
)
NO_SUBJECT = 'error="invalid_token", error_description="The access token lacks a claim that this API needs."'
NOT_GRANTED = (
    'error="insufficient_scope", error_description="The access token lacks a scope that this needs.", '
    'scope="write:devices"'
)
ROWS = [
    Row("no metadata", UNAUTHENTICATED, 'scope="read:devices"', "Scoped", lambda _: ()),
    Row("another scheme", UNAUTHENTICATED, 'scope="read:devices"', "Scoped", lambda _: ("Basic YTpi",)),
    Row("an expired token", UNAUTHENTICATED, EXPIRED, "Any", lambda server: (bearer(server, exp=1),)),
    Row("no subject", UNAUTHENTICATED, NO_SUBJECT, "Any", lambda server: (bearer(server, sub=None),)),
    Row("a good token", OK, None, "Scoped", lambda server: (bearer(server),)),
    Row("without the scope", grpc.StatusCode.PERMISSION_DENIED, NOT_GRANTED, "Other", lambda server: (bearer(server),)),
    Row("two words", UNAUTHENTICATED, MALFORMED, "Any", lambda server: (bearer(server) + " x",)),
    Row("twice", UNAUTHENTICATED, MALFORMED, "Any", lambda server: (bearer(server), bearer(server))),
    Row("optional: no token", OK, None, "Optional", lambda _: ()),
    Row("optional: a good token", OK, None, "Optional", lambda server: (bearer(server),)),
    Row("optional: a bad token", UNAUTHENTICATED, EXPIRED, "Optional", lambda server: (bearer(server, exp=1),)),
    Row("open: no token", OK, None, "Open", lambda _: ()),
    Row("open: a bad token", OK, None, "Open", lambda _: ("Bearer abc",)),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_its_answers(served: Served, row: Row) -> None:
    answer = call(served.channel, f"/things.Things/{row.method}", row.authorizations(served.key_server))
    assert answer.status is row.status
    if row.challenge is None:
        assert answer.body == (b"user-1" if "good" in row.what else b"nobody")
        assert "www-authenticate" not in answer.metadata
    else:
        assert answer.metadata["www-authenticate"] == f'Bearer realm="{REALM}", {row.challenge}'
        assert answer.details in {"This needs an access token in the Authorization header.", *row.challenge.split('"')}


def test_without_keys_it_answers_unavailable(key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    with serving(make_verifier(key_server)) as channel:
        answer = call(channel, "/things.Things/Any", [bearer(key_server)])
    assert answer.status is grpc.StatusCode.UNAVAILABLE
    assert "www-authenticate" not in answer.metadata
    assert int(answer.metadata["retry-after"]) >= 1


def test_other_calls_are_answered_while_keys_are_fetched(key_server: KeyServer) -> None:
    asked = key_server.hang_keys()
    with serving(make_verifier(key_server)) as channel, ThreadPoolExecutor() as pool:
        waiting = pool.submit(call, channel, "/things.Things/Any", [bearer(key_server)])
        assert asked.wait(timeout=10)
        asked_at = time.monotonic()
        assert call(channel, "/things.Things/Open").status is OK
        assert time.monotonic() - asked_at < SOONER_SECONDS
        key_server.released.set()
        assert waiting.result().status is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("method", "kind"),
    [("/things.Things/Forgotten", "unary_unary"), ("/things.Kinds/ForgottenStream", "stream_stream")],
)
def test_a_method_without_a_requirement_is_refused_and_logged(
    served: Served, caplog: pytest.LogCaptureFixture, method: str, kind: str
) -> None:
    answer = call(served.channel, method, [bearer(served.key_server)], kind)
    assert (answer.status, answer.body) == (grpc.StatusCode.UNKNOWN, None)
    assert method not in answer.details
    assert f"{method} does not declare who may call it" in caplog.text


def test_a_method_that_does_not_exist_is_unimplemented(served: Served) -> None:
    assert call(served.channel, "/things.Things/None").status is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("method", "kind", "body"),
    [
        ("UnaryStream", "unary_stream", b"user-1user-1"),
        ("StreamUnary", "stream_unary", b"user-1?!"),
        ("StreamStream", "stream_stream", b"user-1user-1"),
    ],
)
def test_it_protects_streams(served: Served, method: str, kind: str, body: bytes) -> None:
    refused = call(served.channel, f"/things.Kinds/{method}", (), kind)
    assert (refused.status, refused.metadata["www-authenticate"]) == (UNAUTHENTICATED, f'Bearer realm="{REALM}"')
    without_subject = call(served.channel, f"/things.Kinds/{method}", [bearer(served.key_server, sub=None)], kind)
    assert without_subject.status is UNAUTHENTICATED
    assert without_subject.metadata["www-authenticate"] == f'Bearer realm="{REALM}", {NO_SUBJECT}'
    good = call(served.channel, f"/things.Kinds/{method}", [bearer(served.key_server)], kind)
    assert (good.status, good.body) == (OK, body)


def test_the_next_call_in_the_same_thread_does_not_see_the_token(key_server: KeyServer) -> None:
    with serving(make_verifier(key_server), threads=1) as channel:
        assert call(channel, "/things.Things/Any", [bearer(key_server)]).body == b"user-1"
        assert call(channel, "/things.Things/Optional").body == b"nobody"
        assert call(channel, "/things.Things/Open").body == b"nobody"
