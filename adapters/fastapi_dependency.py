"""A FastAPI dependency: a route gets the verified token, and a refusal is answered as in Flask.

    verifier = TokenVerifier(config)
    read_things = BearerToken(verifier, Requirement(scopes=("read:things",)))
    app = FastAPI()
    answer_refusals(app, realm="your-api")

    @app.get("/things")
    async def list_things(token: Annotated[AccessToken, Depends(read_things)]) -> dict[str, str]: ...

Copy this file next to your copy of `api/auth/` and adapt its imports from there. It needs FastAPI.
"""

from fastapi import FastAPI, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase

from api.auth import AccessToken, AuthError, Requirement, TokenVerifier


class BearerToken(SecurityBase):
    """The token of the request, verified; None if `requirement` is optional and the request has no token.

    Use it on a route, a router, or on all routes: `FastAPI(dependencies=[Depends(…)])`. A route without it is open.
    OpenAPI shows it as the security scheme of its routes. For HTTP, not for WebSockets.

    FastAPI reads and parses the body before it calls dependencies, so limit the size of bodies; a malformed one is
    answered with 422, with and without a token. Does not look for a second token in a form (RFC 6750 §2.2).
    """

    def __init__(self, verifier: TokenVerifier, requirement: Requirement) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = type(self).__name__
        self._verifier = verifier
        self._requirement = requirement

    # Not async: FastAPI calls it in a thread, so that a fetch of keys does not block the event loop.
    def __call__(self, request: Request) -> AccessToken | None:
        """Return the token. Raises AuthError, which `answer_refusals` answers."""
        # Empty without a header, which counts as no credentials.
        authorization = ",".join(request.headers.getlist("Authorization"))
        query = request.scope["query_string"].decode("latin-1")
        return self._verifier.authenticate(authorization, self._requirement, query=query)


def answer_refusals(app: FastAPI, *, realm: str = "api") -> None:
    """Answer AuthError in `app` with its status, headers and JSON; without this it is answered with 500.

    `realm` names the protected space in challenges: printable ASCII without quotes and backslashes.
    """

    @app.exception_handler(AuthError)
    async def answer(_request: Request, refusal: AuthError) -> JSONResponse:
        return JSONResponse(refusal.body(), refusal.status, refusal.headers(realm=realm))
