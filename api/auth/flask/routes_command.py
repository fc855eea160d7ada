"""The command `flask auth routes`: who may call which route."""

import sys
from collections.abc import Iterator

from flask import Flask, current_app
from flask.cli import AppGroup

from .declarations import Access, access_of, requirements_of

HOW_TO_DECLARE = (
    "Put @require_auth(...) or @open_to_all directly below the route, above all other decorators; on a class before "
    "as_view() is called, or on each of its methods; or on a blueprint before it is registered."
)
_UNDECLARED = "UNDECLARED"
# The methods of a rule that names none.
_ANY_METHOD = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})

commands = AppGroup("auth", help="Show who may call which route.")


@commands.command("routes")
def _list_routes() -> None:
    """List all routes and who may call them. Exits with 1 if one is undeclared."""
    rows = sorted(_rows(current_app), key=lambda row: row[0])
    undeclared = any(row[-1] == _UNDECLARED for row in rows)
    rows = [("Endpoint", "Methods", "Rule", "Access"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    if undeclared:
        print(f"{_UNDECLARED}: {HOW_TO_DECLARE}", file=sys.stderr)
        sys.exit(1)


def _rows(app: Flask) -> Iterator[tuple[str, str, str, str]]:
    """Yield endpoint, methods, rule and access of each route: several rows where the methods differ in access."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in app.view_functions:
            continue
        methods = set(rule.methods or _ANY_METHOD)
        # As in `flask routes`: without the OPTIONS and HEAD that Flask adds.
        if getattr(rule, "provide_automatic_options", False) and methods > {"OPTIONS"}:
            methods.discard("OPTIONS")
        methods_by_access: dict[str, list[str]] = {}
        for method in sorted(methods):
            methods_by_access.setdefault(_access_in_words(app, rule.endpoint, method), []).append(method)
        for access, same in methods_by_access.items():
            shown = [method for method in same if method != "HEAD" or "GET" not in same]
            yield rule.endpoint, ", ".join(shown), rule.rule, access


def _access_in_words(app: Flask, endpoint: str, method: str) -> str:
    access = access_of(app, endpoint, method)
    if access is Access.CLOSED:
        return ", and ".join(requirement.in_words() for requirement in requirements_of(app, endpoint, method))
    return _UNDECLARED if access is Access.UNDECLARED else access.value
