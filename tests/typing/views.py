"""What api.auth promises to a type checker. `make lint` checks it; nothing runs it.

A type that is not as promised is an error, and so is a `type: ignore` on a line that has none.
"""

from typing import assert_type

from flask import Blueprint, Flask
from flask.views import MethodView

from api.auth import Auth, AuthConfig, TokenVerifier, TrustedIssuer, current_token, open_to_all, require_auth


def create_app(issuer: str, audience: str) -> Flask:
    app = Flask(__name__)
    trusted = TrustedIssuer(identifier=issuer, audiences=(audience,))
    Auth(TokenVerifier(AuthConfig(issuers=(trusted,)))).init_app(app)
    app.add_url_rule("/<int:number>", view_func=view)
    app.add_url_rule("/devices", view_func=Devices.as_view("devices"))
    return app


@require_auth("read:devices", any_of=["a", "b"], claims={"org": str.isalpha}, max_age=60)
def view(number: int, *, name: str = "") -> dict[str, str | None]:
    return {"client": current_token.client_id, name: str(number)}


assert_type(view(1), dict[str, str | None])
view(1, name="a")
view()  # type: ignore[call-arg]
view("1")  # type: ignore[arg-type]
view(1, "a")  # type: ignore[call-arg]
view(1, name=2)  # type: ignore[arg-type]
view(number=1)


@require_auth()
async def coroutine(number: int) -> str:
    return current_token.subject


async def call_it() -> None:
    assert_type(await coroutine(1), str)
    await coroutine("1")  # type: ignore[arg-type]


@open_to_all
def open_view(number: int) -> str:
    return str(number)


assert_type(open_view(1), str)
open_view("1")  # type: ignore[arg-type]


@require_auth()
class Devices(MethodView):
    def get(self) -> str:
        return ""


assert_type(Devices, type[Devices])
assert_type(Devices().get(), str)
Devices(1)  # type: ignore[call-arg]

assert_type(open_to_all(Devices), type[Devices])
assert_type(open_to_all(Blueprint("pages", __name__)), Blueprint)
open_to_all(7)  # type: ignore[type-var]
Auth(TokenVerifier(AuthConfig(issuers=())), undeclared="closed")  # type: ignore[arg-type]
assert_type(require_auth()(Blueprint("devices", __name__)), Blueprint)
assert_type(current_token.scopes, frozenset[str])
assert_type(current_token.subject, str)
assert_type(current_token.subject_or_none, str | None)
current_token.subject = "other"  # type: ignore[misc]
