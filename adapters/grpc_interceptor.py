"""A gRPC server interceptor: each method has its requirement, and a method without one is refused.

    requirements = {"/things.Things/List": Requirement(scopes=("read:things",)), "/grpc.health.v1.Health/Check": None}
    interceptor = AuthInterceptor(TokenVerifier(config), requirements, realm="your-api")
    server = grpc.server(ThreadPoolExecutor(), interceptors=[interceptor])

Methods read the token with `current_token.get()`. Copy this file next to your copy of `api/auth/` and adapt its imports
from there. It needs grpcio. For `grpc.server`, not for `grpc.aio.server`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import grpc

from api.auth import AccessToken, AuthError, Requirement, TokenVerifier

# The verified token of this call. `get()` raises LookupError if the call has none; `get(None)` returns None then.
current_token: ContextVar[AccessToken] = ContextVar("current_token")

_STATUS = {403: grpc.StatusCode.PERMISSION_DENIED, 503: grpc.StatusCode.UNAVAILABLE}
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class AuthInterceptor(grpc.ServerInterceptor):
    """Verifies the token in the metadata `authorization` before a method runs.

    `requirements` has each method, as `/package.Service/Method`; None opens it to all. A method that it lacks is
    refused with UNKNOWN, as for an error in the server, and gRPC logs its name.

    A refused call ends with UNAUTHENTICATED, PERMISSION_DENIED, or UNAVAILABLE if the keys cannot be fetched; the
    challenge and Retry-After are trailing metadata. `realm` names the protected space in challenges: printable ASCII
    without quotes and backslashes. Does not check the token again while a stream is open.
    """

    def __init__(
        self, verifier: TokenVerifier, requirements: Mapping[str, Requirement | None], *, realm: str = "api"
    ) -> None:
        self._verifier = verifier
        self._requirements = dict(requirements)
        self._realm = realm

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], _Handler], handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler:
        """Return the method's handler with the check in front. Raises RuntimeError if it has no requirement."""
        handler, method = continuation(handler_call_details), handler_call_details.method
        if handler is None:  # no such method
            return None
        if method not in self._requirements:
            raise RuntimeError(f"{method} does not declare who may call it: add it to the requirements")
        requirement = self._requirements[method]
        if requirement is None:
            return handler
        (kind,) = (kind for kind in _KINDS if getattr(handler, kind) is not None)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        checked: _Handler = make(
            self._check_before(getattr(handler, kind), requirement, streams=kind.endswith("stream")),
            handler.request_deserializer,
            handler.response_serializer,
        )
        return checked

    def _check_before(
        self, method: Callable[..., Any], requirement: Requirement, *, streams: bool
    ) -> Callable[..., Any]:
        """Return `method` with the check in front; `streams` tells whether it returns an iterator of responses."""

        # Not in intercept_service: the thread that accepts all calls runs that, and a fetch of keys would block it.
        def checked_method(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                self._authenticate(context, requirement)
                # Inside, since reading the subject of a token without one raises InvalidToken.
                return method(request, context)
            except AuthError as refusal:
                self._refuse(context, refusal)

        def checked_stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                self._authenticate(context, requirement)
                yield from method(request, context)
            except AuthError as refusal:
                self._refuse(context, refusal)

        return checked_stream if streams else checked_method

    def _authenticate(self, context: grpc.ServicerContext, requirement: Requirement) -> None:
        values = [str(value) for name, value in context.invocation_metadata() if name == "authorization"]
        token = self._verifier.authenticate(",".join(values), requirement)
        # gRPC runs each call in a context of its own: the next call in this thread does not see the token.
        if token is not None:
            current_token.set(token)

    def _refuse(self, context: grpc.ServicerContext, refusal: AuthError) -> NoReturn:
        headers = refusal.headers(realm=self._realm)
        context.set_trailing_metadata(tuple((name.lower(), value) for name, value in headers.items()))
        context.abort(_STATUS.get(refusal.status, grpc.StatusCode.UNAUTHENTICATED), refusal.detail)
