"""Headers of responses."""

from typing import Any


def header_of(response: Any, name: str) -> str:
    """Return a header of a response, of any library; where it is missing, fail with those that are there."""
    headers = response.headers
    assert name in headers, f"no {name} in the headers of {response}: {dict(headers)}"
    value: str = headers[name]
    return value
