"""/v1/me: the claims of the caller's token that the API uses."""

import time

from flask import Blueprint, Response
from marshmallow import Schema, fields

from api.auth import require_auth
from api.web.caller import callers_token
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
    token = callers_token()
    # By hand, like devices, and not through the schema, which takes a tenth of this request; a test compares the two.
    scopes, permissions = (",".join(map(encode, sorted(words))) for words in (token.scopes, token.permissions))
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires_at))
    return json_response(
        f'{{"sub":{encode(token.subject_or_none)},"client_id":{encode(token.client_id)},"scopes":[{scopes}],'
        f'"permissions":[{permissions}],"issuer":{encode(token.issuer)},"expires_at":"{expires_at}"}}'
    )
