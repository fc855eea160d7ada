"""/v1/me: the claims of the caller's token that the API uses."""

from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Response
from marshmallow import Schema, fields
from werkzeug.local import LocalProxy

from api.auth import AccessToken, current_token, require_auth
from api.web.conditions import keep_private
from api.web.fields import Timestamp
from api.web.json_response import encode, json_response
from api.web.query import no_query

me = Blueprint("me", __name__, url_prefix="/v1")
me.after_request(keep_private)


class MeSchema(Schema):
    """The claims of a token that the API uses."""

    sub = fields.String(required=True, allow_none=True)
    client_id = fields.String(required=True, allow_none=True)
    scopes = fields.List(fields.String(), required=True)
    permissions = fields.List(fields.String(), required=True)
    issuer = fields.String(required=True)
    expires_at = Timestamp(required=True)


@me.get("/me")
@require_auth()
@no_query
def show() -> Response:
    """Return the token's claims."""
    # Each use of the proxy finds the request and its token again.
    token = cast("LocalProxy[AccessToken]", current_token)._get_current_object()  # noqa: SLF001  # Werkzeug's public name
    # Not through the schema, which takes a tenth of this request; a test compares the two.
    claims = {
        "sub": token.subject_or_none,
        "client_id": token.client_id,
        "scopes": sorted(token.scopes),
        "permissions": sorted(token.permissions),
        "issuer": token.issuer,
        "expires_at": datetime.fromtimestamp(token.expires_at, UTC).isoformat().replace("+00:00", "Z"),
    }
    return json_response(encode(claims))
