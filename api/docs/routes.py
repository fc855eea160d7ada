"""/openapi.yaml, /openapi.json, and /docs with Swagger UI. No file comes from another host."""

from collections.abc import Callable
from importlib.resources import files
from typing import cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, render_template

from api.auth import Auth, open_to_all
from api.auth.flask.metadata import all_requirements
from api.problems.problem import Problem

from .contract import ContractMissingError, contract_as_json, contract_as_yaml

documents = Blueprint("documents", __name__, template_folder="templates")

_STATIC = files("api.docs") / "static"
# Not the page of flask_swagger_ui: it has inline scripts, which the Content-Security-Policy forbids.
_SWAGGER_UI = files("flask_swagger_ui") / "dist"
_CSS, _JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
_FILES = {
    "docs.css": (_STATIC, _CSS),
    "docs.js": (_STATIC, _JAVASCRIPT),
    "pages.css": (_STATIC, _CSS),
    "favicon-32x32.png": (_SWAGGER_UI, "image/png"),
    "swagger-ui.css": (_SWAGGER_UI, _CSS),
    "swagger-ui-bundle.js": (_SWAGGER_UI, _JAVASCRIPT),
}
# Short, because the files change with every version of the API.
_MAX_AGE_SECONDS = 300


@documents.get("/")
@open_to_all
def root() -> Response:
    """Lead to the page that shows the API."""
    response = Response(status=302, headers={"Location": f"{current_app.extensions['public_path']}/docs"})
    # There is no body.
    del response.headers["Content-Type"]
    return response


@documents.get("/openapi.yaml")
@open_to_all
def openapi_yaml() -> Response:
    """Return the OpenAPI document in YAML (media type: RFC 9512)."""
    return _contract(contract_as_yaml, "application/yaml")


@documents.get("/openapi.json")
@open_to_all
def openapi_json() -> Response:
    """Return the OpenAPI document in JSON."""
    return _contract(contract_as_json, "application/json")


@documents.get("/docs")
@open_to_all
def docs() -> Response:
    """Return the page that shows the API, gets a token by the device flow (RFC 8628), and sends requests."""
    auth = cast("Auth", current_app.extensions["auth"])
    issuers = auth.verifier.config.issuers
    # The page may call only this API and its trusted issuers.
    connect_sources = " ".join(["'self'", *sorted({_origin(issuer.identifier) for issuer in issuers})])
    response = Response(render_template("docs.html", issuers=issuers, scopes=_default_scopes()))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"connect-src {connect_sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _default_scopes() -> str:
    """Return the scopes that give access to all routes; where a route has alternatives, only the first."""
    return " ".join(sorted({scope for one in all_requirements(current_app) for scope in one.required_scopes}))


@documents.get("/docs/<file>")
@open_to_all
def docs_file(file: str) -> Response:
    """Return a script, a style sheet or an icon of the pages."""
    if file not in _FILES:
        raise Problem(404, "not_found", "There is no such file.")
    directory, content_type = _FILES[file]
    return Response(
        (directory / file).read_bytes(),
        content_type=content_type,
        headers={"Cache-Control": f"max-age={_MAX_AGE_SECONDS}", "X-Content-Type-Options": "nosniff"},
    )


def _contract(read: Callable[[], str], media_type: str) -> Response:
    try:
        text = read()
    except ContractMissingError as exc:
        raise Problem(404, "not_found", str(exc)) from exc
    return Response(text, content_type=media_type, headers={"Cache-Control": f"max-age={_MAX_AGE_SECONDS}"})


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
