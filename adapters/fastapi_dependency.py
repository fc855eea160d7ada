"""A FastAPI dependency: a route gets the verified token, and a refusal is answered as in Flask.

    verifier = TokenVerifier(config)
    read_things = BearerToken(verifier, Requirement(scopes=("read:things",)))
    app = FastAPI()
    answer_refusals(app, realm="your-api")

    @app.get("/things")
    async def list_things(token: Annotated[AccessToken, Depends(read_things)]) -> dict[str, str]: ...

Copy this file next to your copy of `api/auth/` and adapt its imports from there. It needs FastAPI.
"""

from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase

from api.auth import AccessToken, AuthError, Requirement, Sender, TokenVerifier, UnverifiedRequest
from api.auth.possession import KeyProof


class BearerToken(SecurityBase):
    """The token of the request, verified; None if `requirement` is optional and the request has no token.

    Use it on a route, a router, or on all routes: `FastAPI(dependencies=[Depends(…)])`. A route without it is open.
    OpenAPI shows it as the security scheme of its routes. For HTTP, not for WebSockets.

    FastAPI reads and parses the body before it calls dependencies, so limit the size of bodies; a malformed one is
    answered with 422, with and without a token. Does not look for a second token in a form (RFC 6750 §2.2).

    `dpop`, a `DPoP`, also accepts tokens that are bound to a key (RFC 9449). It needs `resource_url`, the address at
    which clients reach the root of the application, and `answer_refusals(…, dpop=…)`. A client learns a new nonce from
    a refusal.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        requirement: Requirement,
        *,
        dpop: KeyProof | None = None,
        resource_url: str | None = None,
    ) -> None:
        if dpop is not None and resource_url is None:
            raise ValueError("dpop needs resource_url, the address that proofs are made for")
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = type(self).__name__
        self._verifier = verifier
        self._requirement = requirement
        self._dpop = dpop
        self._resource_url = (resource_url or "").rstrip("/")

    # Not async: FastAPI calls it in a thread, so that a fetch of keys does not block the event loop.
    def __call__(self, request: Request) -> AccessToken | None:
        """Return the token. Raises AuthError, which `answer_refusals` answers."""
        # Empty without a header, which counts as no credentials.
        authorization = ",".join(request.headers.getlist("Authorization"))
        query = request.scope["query_string"].decode("latin-1")
        sender = None
        if self._dpop is not None:
            sender = Sender(request=lambda: self._unverified_request(request), dpop=self._dpop)
        return self._verifier.authenticate(authorization, self._requirement, query=query, sender=sender)

    def _unverified_request(self, request: Request) -> UnverifiedRequest:
        """Return what a proof is compared with; the path as it was sent, if the server keeps that."""
        sent: bytes | None = request.scope.get("raw_path")
        path = quote(request.url.path, "/:@!$&'()*+,;=~%") if sent is None else sent.decode("latin-1")
        return UnverifiedRequest(
            method=request.method,
            url=self._resource_url + path.removeprefix(request.scope.get("root_path", "")),
            header=lambda name: ",".join(request.headers.getlist(name)) or None,
            peer_address=request.client.host if request.client else None,
        )


def answer_refusals(app: FastAPI, *, realm: str = "api", dpop: KeyProof | None = None) -> None:
    """Answer AuthError in `app` with its status, headers and JSON; without this it is answered with 500.

    `realm` names the protected space in challenges: printable ASCII without quotes and backslashes. `dpop` is that of
    the routes.
    """

    @app.exception_handler(AuthError)
    async def answer(_request: Request, refusal: AuthError) -> JSONResponse:
        return JSONResponse(refusal.body(), refusal.status, refusal.headers(realm=realm, dpop=dpop))
