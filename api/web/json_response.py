"""Responses with one JSON text."""

import json

from flask import Response

encode = json.JSONEncoder(separators=(",", ":")).encode
"""Return a value as a JSON text in ASCII. `json.dumps`, which jsonify calls, makes an encoder for each call."""


def json_response(text: str) -> Response:
    """Return the response with one JSON text."""
    return Response(f"{text}\n", content_type="application/json")
