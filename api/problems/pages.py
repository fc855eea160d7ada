"""/problems: a page for each problem type; the `type` member of a problem is its URL (RFC 9457 §3.1.1)."""

from flask import Blueprint, Response, render_template

from api.auth import open_to_all

from .catalogue import PROBLEM_TYPES
from .problem import Problem

problem_pages = Blueprint("problem_pages", __name__, template_folder="templates")

_BY_SLUG = {kind.slug: kind for kind in PROBLEM_TYPES.values()}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "max-age=300",
}


@problem_pages.get("/problems")
@open_to_all
def catalogue() -> Response:
    """Return the page that lists all problem types."""
    return Response(render_template("problems.html", kinds=PROBLEM_TYPES.values()), headers=_HEADERS)


@problem_pages.get("/problems/<name>")
@open_to_all
def explanation(name: str) -> Response:
    """Return the page of one problem type."""
    kind = _BY_SLUG.get(name)
    if kind is None:
        raise Problem(404, "not_found", "There is no such problem type.")
    return Response(render_template("problem.html", kind=kind), headers=_HEADERS)
