"""/v1/me: the claims of the caller's token that the API uses."""

from datetime import UTC, datetime

from flask import Blueprint, Response, jsonify
from marshmallow import Schema, fields

from api.auth import current_token, require_auth
from api.web.conditions import keep_private
from api.web.fields import Timestamp
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


_schema = MeSchema()


@me.get("/me")
@require_auth()
@no_query
def show() -> Response:
    """Return the token's claims."""
    return jsonify(
        _schema.dump(
            {
                "sub": current_token.subject_or_none,
                "client_id": current_token.client_id,
                "scopes": sorted(current_token.scopes),
                "permissions": sorted(current_token.permissions),
                "issuer": current_token.issuer,
                "expires_at": datetime.fromtimestamp(current_token.expires_at, UTC),
            }
        )
    )
