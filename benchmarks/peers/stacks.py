"""The stacks that are checked: where their services are, what they need, and how they are shown."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from api.auth import __version__

FOLDER = Path(__file__).parent
# node: service.mjs with package-lock.json. wsgi, asgi: service.py with requirements.txt, under gunicorn or uvicorn.
# copy: like wsgi, with a copy of api/auth/ and the project's own environment. whole: the API as it is deployed.
Kind = Literal["node", "wsgi", "asgi", "copy", "whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A library, or several that belong together, in a service of a few lines.

    Args:
        name: unique; as an argument of `make peers`.
        title: as shown on the page.
        folder: relative to this one.
        kind: how its service is started.
        checks_scope: whether it has a means to require a scope, which its service uses.
        tls: whether it asks its issuer over https alone.
        strict: the environment variable STRICT of its service.
        dpop: whether it verifies DPoP proofs (RFC 9449), and is checked with them too.
        note: what a reader of the result has to know; empty for nothing.
    """

    name: str
    title: str
    folder: str
    kind: Kind
    checks_scope: bool = False
    tls: bool = False
    strict: bool = False
    dpop: bool = False
    note: str = ""

    @property
    def path(self) -> Path:
        """The folder of its service."""
        return FOLDER / self.folder

    @property
    def pins(self) -> Path | None:
        """The file with the exact versions of all that is installed; None if it needs no environment of its own."""
        if self.kind == "node":
            return self.path / "package-lock.json"
        return self.path / "requirements.txt" if self.kind in {"wsgi", "asgi"} else None

    @property
    def versions(self) -> dict[str, str]:
        """The pinned versions of the libraries that its service names."""
        if self.kind == "node":
            named: dict[str, str] = json.loads((self.path / "package.json").read_text("utf-8"))["dependencies"]
            return named
        if self.pins is None:
            return {"device-api": __version__}
        text = (self.path / "requirements.in").read_text("utf-8")
        return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$", text, re.MULTILINE))


_OWN_ANSWERS = "The library verifies tokens; the service reads the header and writes the answer."

STACKS = (
    Stack(
        name="express-oauth2-jwt-bearer",
        title="express-oauth2-jwt-bearer, default",
        folder="node/express-oauth2-jwt-bearer",
        kind="node",
        checks_scope=True,
        dpop=True,
    ),
    Stack(
        name="express-oauth2-jwt-bearer-strict",
        title="express-oauth2-jwt-bearer, `strict`",
        folder="node/express-oauth2-jwt-bearer",
        kind="node",
        checks_scope=True,
        strict=True,
        note="Its option `strict` requires the `typ` and the claims of RFC 9068.",
    ),
    Stack(name="jose", title="jose", folder="node/jose", kind="node", note=_OWN_ANSWERS),
    Stack(
        name="hono",
        title="Hono, middleware `jwk`",
        folder="node/hono",
        kind="node",
        note="Its option `verification.typ` is set to `at+jwt`; without it, these tokens are refused.",
    ),
    Stack(
        name="fastify",
        title="Fastify, @fastify/jwt, get-jwks",
        folder="node/fastify",
        kind="node",
        note="As in the README of @fastify/jwt: `domain: iss`, without a list of issuers, and no audience.",
    ),
    Stack(name="passport-jwt", title="passport-jwt, jwks-rsa", folder="node/passport-jwt", kind="node"),
    Stack(name="pyjwt", title="PyJWT", folder="python/pyjwt", kind="wsgi", note=_OWN_ANSWERS),
    Stack(name="joserfc", title="joserfc", folder="python/joserfc", kind="wsgi", note=_OWN_ANSWERS),
    Stack(
        name="authlib",
        title="Authlib, ResourceProtector",
        folder="python/authlib",
        kind="wsgi",
        checks_scope=True,
        note="With its validator for RFC 9068.",
    ),
    Stack(
        name="auth0-fastapi-api",
        title="auth0-fastapi-api",
        folder="python/auth0-fastapi-api",
        kind="asgi",
        checks_scope=True,
        tls=True,
        dpop=True,
    ),
    Stack(
        name="flask-jwt-extended",
        title="Flask-JWT-Extended",
        folder="python/flask-jwt-extended",
        kind="wsgi",
        note="It is made for tokens that the service itself signs, and takes one public key.",
    ),
    Stack(
        name="simplejwt",
        title="djangorestframework-simplejwt",
        folder="python/simplejwt",
        kind="wsgi",
        note="It is made for tokens that the service itself signs; here it has the address of an issuer's keys.",
    ),
    Stack(
        name="device-api-decorators",
        title="ours: the copied decorators",
        folder="python/device-api-decorators",
        kind="copy",
        checks_scope=True,
        dpop=True,
    ),
    Stack(
        name="device-api",
        title="ours: the whole API",
        folder="../../api",
        kind="whole",
        checks_scope=True,
        dpop=True,
    ),
)
