"""The Flask extension: `Auth` reads and answers requests, `current_token` is the token of this one.

decorator.py has `require_auth` and `open_to_all`, which declare who may call a view.
"""

import functools
import ipaddress
import logging
import re
from collections.abc import Callable
from typing import Any, Literal, SupportsIndex, cast
from urllib.parse import quote, urlsplit

from flask import (
    Flask,
    Response,
    abort,
    after_this_request,
    current_app,
    has_request_context,
    jsonify,
    request,
)
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from ..claims import AccessToken
from ..config import ConfigError, is_quotable
from ..errors import AuthError, InvalidRequest
from ..possession import CertificateProof, KeyProof, Sender, UnverifiedRequest
from ..reasons import Reason
from ..requirement import Requirement
from ..unverified_token import has_token_parameter
from ..verifier import TokenVerifier
from .current import current_request
from .declarations import Access, access_of
from .decorator import EXTENSION, open_to_all
from .metadata import add_routes, describe, metadata_url
from .routes_command import HOW_TO_DECLARE, commands

# Not in `g`: requests within an application context that a test or a command has pushed share one `g`.
_TOKEN = "device-api-auth.access_token"
# A Host header that can stand in a challenge: a name, an IPv4 or IPv6 address, and maybe a port (RFC 9110 §7.2).
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::\d{1,5})?")

# What a path has unencoded (RFC 3986 §3.3).
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"

# Named after the copied package, not after this folder in it.
_log = logging.getLogger(__name__.rsplit(".", 2)[0])


class Auth:
    """Bearer-token authentication for a Flask application (RFC 6750).

    `realm` names the protected space in challenges (RFC 9110 §11.5). `metadata` serves the API's metadata (RFC 9728) at
    `/.well-known/oauth-protected-resource`, and challenges point to it. `resource_url` is the API's public address in
    the metadata; None takes it from each request's Host. `undeclared` says what happens to a request whose view
    declares neither `require_auth` nor `open_to_all`: "refuse" raises RuntimeError before the view runs, "open" lets it
    through. Both log the endpoint once. `dpop` accepts tokens that are bound to a key (RFC 9449): a `DPoP` of the
    folder `dpop`. It needs `resource_url`, since a proof names the address that it was made for: compared with a Host
    header, a proof for another service would be accepted from whoever forwards it with that service's name. `mtls`
    accepts tokens that are bound to a client certificate (RFC 8705): a `MutualTLS` of mtls.py.

    Raises ConfigError if `realm` or `resource_url` has characters that a challenge cannot hold, for another
    `undeclared`, and for `dpop` without `resource_url`.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        realm: str = "api",
        resource_url: str | None = None,
        metadata: bool = False,
        undeclared: Literal["refuse", "open"] = "refuse",
        dpop: KeyProof | None = None,
        mtls: CertificateProof | None = None,
    ) -> None:
        mistakes = [
            f"{name} must be printable ASCII without quotes and backslashes."
            for name, value in (("realm", realm), ("resource_url", resource_url))
            if value is not None and not is_quotable(value)
        ]
        if undeclared not in ("refuse", "open"):
            mistakes.append('undeclared must be "refuse" or "open".')
        if dpop is not None and resource_url is None:
            mistakes.append("dpop needs resource_url, the address that proofs are made for.")
        if mistakes:
            raise ConfigError(mistakes)
        self.verifier = verifier
        self.dpop = dpop
        self.mtls = mtls
        self._sender = None
        if dpop is not None or mtls is not None:
            self._sender = Sender(request=self._unverified_request, dpop=dpop, mtls=mtls)
        self.undeclared = undeclared
        self.realm = realm
        self._resource_url = resource_url and resource_url.rstrip("/")
        self._serves_metadata = metadata

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this extension; the applications that have it stay as they are."""
        arguments: dict[str, Any] = {
            "realm": self.realm,
            "resource_url": self._resource_url,
            "metadata": self._serves_metadata,
            "undeclared": self.undeclared,
            "dpop": self.dpop,
            "mtls": self.mtls,
        }
        return functools.partial(type(self), self.verifier, **arguments), ()

    def init_app(self, app: Flask) -> None:
        """Install on `app`, with the command `flask auth routes` and an error handler for AuthError.

        `app` may register another handler afterwards. A second `Auth` replaces the first. A command `auth` that `app`
        has already is kept.
        """
        if EXTENSION not in app.extensions:
            app.before_request(_check_of_declarations(app))
            if "auth" not in app.cli.commands:
                app.cli.add_command(commands)
        if self._serves_metadata:
            add_routes(app, _metadata, self._resource_url)
        app.extensions[EXTENSION] = self
        app.register_error_handler(AuthError, self._answer)

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Return the verified token of the current request; None if the requirement is optional and it has no token.

        Raises AuthError if the request is to be refused; RuntimeError if the requirement needs DPoP or mutual TLS,
        and this has none.
        """
        if requirement.dpop is not None and self.dpop is None:
            raise RuntimeError('require_auth(dpop="required") needs Auth(..., dpop=DPoP(...)) on this application')
        if requirement.mtls is not None and self.mtls is None:
            raise RuntimeError('require_auth(mtls="required") needs Auth(..., mtls=MutualTLS(...)) on this application')
        # The WSGI environment saves 12 µs, 15 % of a protected request, against request.headers, args and mimetype.
        environ = current_request().environ
        token = self.verifier.authenticate(
            environ.get("HTTP_AUTHORIZATION"),
            requirement,
            query=environ.get("QUERY_STRING", ""),
            sender=self._sender,
        )
        if token is not None:
            # After the token was verified, so that nobody without a token can make us read a long or slow body.
            if environ.get("CONTENT_TYPE") and request.mimetype == "application/x-www-form-urlencoded":
                self._refuse_token_in_form()
            environ[_TOKEN] = token
        return token

    def _unverified_request(self) -> UnverifiedRequest:
        """Return what a proof of possession is compared with; called for requests that need one."""
        return UnverifiedRequest(
            method=request.method,
            url=f"{self._resource_url or ''}{path_as_sent(request.environ)}",
            header=request.headers.get,
            peer_address=request.remote_addr,
            offer_nonce=_offer_nonce,
        )

    def _refuse_token_in_form(self) -> None:
        """Raise InvalidRequest if the form has an access token too (RFC 6750 §2: one method), or cannot be read."""
        reason = Reason.SEVERAL_METHODS
        try:
            # Not `request.form`: one byte that is not UTF-8 makes it silently empty.
            if not has_token_parameter(request.get_data()):
                return
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001  # each server raises errors of its own for a broken body
            reason = Reason.BODY_UNREADABLE
        self.verifier.events.token_refused(reason, claim=None)
        raise InvalidRequest(reason)

    def resource_url(self) -> str | None:
        """Return the API's public address without a trailing slash; None if the request's Host is malformed."""
        if self._resource_url is not None:
            return self._resource_url
        host = request.host
        return f"{request.scheme}://{host}" if _is_host(host) else None

    def headers(self, error: AuthError) -> dict[str, str]:
        """Return the headers of the answer to `error`: the challenge or Retry-After, and Cache-Control."""
        resource_url = self.resource_url() if self._serves_metadata else None
        metadata = None if resource_url is None else metadata_url(resource_url)
        return error.headers(realm=self.realm, resource_metadata=metadata, dpop=self.dpop)

    def _answer(self, error: AuthError) -> Response:
        response = jsonify(error.body())
        response.status_code = error.status
        response.headers.update(self.headers(error))
        return response


def path_as_sent(environ: dict[str, Any]) -> str:
    """Return the path of a request below the application's root, percent-encoded as the client sent it.

    `PATH_INFO` is decoded, so a proof for `/a%2Fb` could not be told from one for `/a/b`. Servers that do not keep the
    request's target, which WSGI does not demand, get the usual encoding.
    """
    root = quote(environ.get("SCRIPT_NAME", "").encode("latin-1"), _PATH_CHARACTERS)
    target: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    # RFC 9112 §3.2.2: a target may be a whole URL.
    path = target if target.startswith("/") else urlsplit(target).path if "://" in target else ""
    path = path.partition("?")[0].partition("#")[0]
    if path.startswith(root + "/"):
        return path.removeprefix(root)
    return quote(environ.get("PATH_INFO", "").encode("latin-1"), _PATH_CHARACTERS)


def _offer_nonce(nonce: str) -> None:
    """Put a nonce on the answer to the current request (RFC 9449 §8.2)."""

    @after_this_request
    def add(response: Response) -> Response:
        response.headers["DPoP-Nonce"] = nonce
        # A cached answer would hand out an old nonce (RFC 9449 §8.2).
        response.headers["Cache-Control"] = "no-store"
        return response


def _is_host(unverified_host: str) -> bool:
    """Return whether a Host header can stand in a challenge."""
    match = _HOST.fullmatch(unverified_host)
    if match is None or match["ipv6"] is None:
        return match is not None
    try:
        ipaddress.IPv6Address(match["ipv6"])
    except ValueError:  # urllib would raise it later
        return False
    return True


def _check_of_declarations(app: Flask) -> Callable[[], None]:
    """Return a function that raises RuntimeError if the view of the current request is undeclared."""
    # The view too, because an application may replace it: `app.view_functions[endpoint] = other`.
    accepted: dict[tuple[str, str], object] = {}
    logged: set[tuple[str, str]] = set()

    def check() -> None:
        this = current_request()
        rule = this.url_rule
        if rule is None:  # 404, 405, or a redirect
            return
        called = endpoint, method = rule.endpoint, this.method
        view = app.view_functions[endpoint]
        if accepted.get(called) is view:
            return
        if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return
        if access_of(app, endpoint, method) is Access.UNDECLARED:
            refuse = app.extensions[EXTENSION].undeclared == "refuse"
            mistake = f"{method} {endpoint} does not declare who may call it. {HOW_TO_DECLARE}"
            if called not in logged:
                _log.log(logging.ERROR if refuse else logging.WARNING, mistake)
            if rule.methods is not None:
                logged.add(called)
            if refuse:
                raise RuntimeError(mistake)
        # If the rule names no methods, clients choose them: remembering all would fill the memory.
        if rule.methods is not None:
            accepted[called] = view

    return check


@open_to_all
def _metadata() -> tuple[dict[str, Any], dict[str, str]]:
    auth: Auth = current_app.extensions[EXTENSION]
    resource = auth.resource_url()
    if resource is None:
        abort(400, "The Host header is malformed.")
    issuers = [issuer.identifier for issuer in auth.verifier.config.issuers]
    # The address may come from the Host header: no cache may keep it for others.
    headers = {"Cache-Control": "no-store"}
    return describe(current_app, resource=resource, issuers=issuers, name=auth.realm, dpop=auth.dpop), headers


def _token_of_request() -> AccessToken:
    token = current_request().environ.get(_TOKEN) if has_request_context() else None
    if token is None:
        # A RuntimeError makes the proxy false: `if current_token` works in views with `optional=True`.
        raise RuntimeError("no token: current_token is set in views under require_auth, on requests with a token")
    return cast("AccessToken", token)


class _CurrentToken(LocalProxy[AccessToken]):
    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Return how to pickle the token: the proxy has no meaning outside of the request."""
        return self._get_current_object().__reduce_ex__(protocol)


current_token: AccessToken = cast("AccessToken", _CurrentToken(_token_of_request))
