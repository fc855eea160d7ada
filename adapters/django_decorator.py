"""A decorator for Django views, async ones too: a view gets the verified token, and a refusal is answered as in Flask.

    auth = BearerAuth(TokenVerifier(config), realm="your-api")

    @auth.require(Requirement(scopes=("read:things",)))
    def list_things(request: HttpRequest, token: AccessToken) -> JsonResponse: ...

Copy this file next to your copy of `api/auth/` and adapt its imports from there. It needs Django.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeAlias
from urllib.parse import quote

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, JsonResponse

from api.auth import AccessToken, AuthError, Requirement, Sender, TokenVerifier, UnverifiedRequest
from api.auth.possession import KeyProof

_Arguments = ParamSpec("_Arguments")
_View: TypeAlias = Callable[Concatenate[HttpRequest, _Arguments], Any]
_ViewWithToken: TypeAlias = Callable[Concatenate[HttpRequest, AccessToken, _Arguments], Any]


class BearerAuth:
    """Protects views with a TokenVerifier.

    `realm` names the protected space in challenges: printable ASCII without quotes and backslashes. `dpop`, a `DPoP`,
    also accepts tokens that are bound to a key (RFC 9449). It needs `resource_url`, the address at which clients reach
    the root of the application. A client learns a new nonce from a refusal.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        realm: str = "api",
        dpop: KeyProof | None = None,
        resource_url: str | None = None,
    ) -> None:
        if dpop is not None and resource_url is None:
            raise ValueError("dpop needs resource_url, the address that proofs are made for")
        self._verifier = verifier
        self._realm = realm
        self._dpop = dpop
        self._resource_url = (resource_url or "").rstrip("/")

    def require(self, requirement: Requirement) -> Callable[[_ViewWithToken[_Arguments]], _View[_Arguments]]:
        """Return a decorator that calls a view with the verified token after the request, or answers a refusal.

        If `requirement` is optional and the request has no token, the view gets None. For a class, decorate what
        `as_view()` returns. A view without it is open. Does not look for a second token in a form (RFC 6750 §2.2).

        A view for other methods than GET and HEAD needs `csrf_exempt` too: no cookie authenticates its requests.
        """

        def decorate(view: _ViewWithToken[_Arguments]) -> _View[_Arguments]:
            def checked_view(request: HttpRequest, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Any:
                try:
                    token: Any = self._authenticate(request, requirement)
                    # Inside, since reading the subject of a token without one raises InvalidToken.
                    return view(request, token, *args, **kwargs)
                except AuthError as refusal:
                    return self._answer(refusal)

            async def checked_async(
                request: HttpRequest, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
            ) -> Any:
                try:
                    # In a thread, so that a fetch of keys does not block the event loop.
                    token: Any = await asyncio.to_thread(self._authenticate, request, requirement)
                    return await view(request, token, *args, **kwargs)
                except AuthError as refusal:
                    return self._answer(refusal)

            # Django awaits a view only if it is a coroutine function.
            return functools.wraps(view)(checked_async if iscoroutinefunction(view) else checked_view)

        return decorate

    def _authenticate(self, request: HttpRequest, requirement: Requirement) -> AccessToken | None:
        authorization = request.META.get("HTTP_AUTHORIZATION")
        query = request.META.get("QUERY_STRING", "")
        sender = None
        if self._dpop is not None:
            sender = Sender(request=lambda: self._unverified_request(request), dpop=self._dpop)
        return self._verifier.authenticate(authorization, requirement, query=query, sender=sender)

    def _unverified_request(self, request: HttpRequest) -> UnverifiedRequest:
        """Return what a proof is compared with. Django has decoded the path, and encodes it as browsers do."""
        return UnverifiedRequest(
            method=request.method or "",
            url=self._resource_url + quote(request.path_info, "/:@!$&'()*+,;=~"),
            header=request.headers.get,
            peer_address=request.META.get("REMOTE_ADDR"),
        )

    def _answer(self, refusal: AuthError) -> JsonResponse:
        return JsonResponse(
            refusal.body(), status=refusal.status, headers=refusal.headers(realm=self._realm, dpop=self._dpop)
        )
