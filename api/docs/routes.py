"""/openapi.yaml, /openapi.json and /docs: the contract, and a page to read and to try it, all from this machine."""

from collections.abc import Callable
from importlib.resources import files
from typing import cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, render_template

from api.auth import Auth
from api.problems.problem import Problem
from api.well_known import usual_scopes

from .contract import ContractMissingError, contract_as_json, contract_as_yaml

documents = Blueprint("documents", __name__, template_folder="templates")

_OWN = files("api.docs") / "static"
# The files alone: the package's own page has inline scripts.
_SWAGGER_UI = files("flask_swagger_ui") / "dist"
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
_FILES = {
    "docs.css": (_OWN, _CSS),
    "docs.js": (_OWN, _JAVASCRIPT),
    "pages.css": (_OWN, _CSS),
    "favicon-32x32.png": (_SWAGGER_UI, "image/png"),
    "swagger-ui.css": (_SWAGGER_UI, _CSS),
    "swagger-ui-bundle.js": (_SWAGGER_UI, _JAVASCRIPT),
}
# They change with a new version of the API.
_FRESH_SECONDS = 300


@documents.get("/openapi.yaml")
def openapi_yaml() -> Response:
    """Answer with the contract as it was written (media type: RFC 9512)."""
    return _contract(contract_as_yaml, "application/yaml")


@documents.get("/openapi.json")
def openapi_json() -> Response:
    """Answer with the same in JSON."""
    return _contract(contract_as_json, "application/json")


@documents.get("/docs")
def docs() -> Response:
    """Answer with a page that shows the contract, gets a token by the device flow, and sends requests."""
    auth = cast("Auth", current_app.extensions["auth"])
    issuers = auth.verifier.config.issuers
    # Nothing but this API and the issuers that it trusts can be asked by the page.
    connect = " ".join(["'self'", *sorted({_origin(issuer.identifier) for issuer in issuers})])
    response = Response(render_template("docs.html", issuers=issuers, scopes=" ".join(usual_scopes())))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@documents.get("/docs/<file>")
def docs_file(file: str) -> Response:
    """Answer with a script, a style sheet or an icon of the pages."""
    if file not in _FILES:
        raise Problem(404, "not_found", "The pages have no such file.")
    directory, content_type = _FILES[file]
    return Response(
        (directory / file).read_bytes(),
        content_type=content_type,
        headers={"Cache-Control": f"max-age={_FRESH_SECONDS}", "X-Content-Type-Options": "nosniff"},
    )


def _contract(read: Callable[[], str], media_type: str) -> Response:
    try:
        text = read()
    except ContractMissingError as exc:
        raise Problem(404, "not_found", str(exc)) from exc
    return Response(text, content_type=media_type, headers={"Cache-Control": f"max-age={_FRESH_SECONDS}"})


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
