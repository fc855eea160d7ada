"""What every answer of the API must be, whatever was sent: strict readers and assertions."""

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What must come back. `error` and `scope` are the challenge's; `by_server`: gunicorn answers, not the API."""

    status: int
    error: str | None = None
    scope: str | None = None
    by_server: bool = False


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]


_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [\x20-\x7e]*")


def parse_response(raw: bytes) -> Response:
    """Return a response, read strictly (RFC 9112): fields are printable ASCII without a name of other characters."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    assert separator, raw
    status_line, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(status_line)
    assert status, raw
    headers = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        assert field, line
        headers.append((field[1].decode().lower(), (field[2] or b"").decode()))
    return Response(int(status[1]), headers, body, raw)


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_AUTH_PARAM = re.compile(rf'({_TOKEN})="([\x20\x21\x23-\x5b\x5d-\x7e]*)"')
_CHALLENGE = re.compile(rf"({_TOKEN}) ({_AUTH_PARAM.pattern}(?:, {_AUTH_PARAM.pattern})*)")


def parse_challenge(value: str) -> dict[str, str]:
    """Return the parameters of one Bearer challenge (RFC 9110 §11.3): each once, quoted, nothing escaped."""
    challenge = _CHALLENGE.fullmatch(value)
    assert challenge, value
    assert challenge[1] == "Bearer"
    parameters = _AUTH_PARAM.findall(challenge[2])
    assert len(dict(parameters)) == len(parameters), value
    return dict(parameters)


def parse_challenges(value: str) -> list[tuple[str, dict[str, str]]]:
    """Return the scheme and the parameters of each challenge in one header (RFC 9110 §11.6.1), read as strictly."""
    challenges = []
    while value:
        challenge = _CHALLENGE.match(value)
        assert challenge, value
        parameters = _AUTH_PARAM.findall(challenge[2])
        assert len(dict(parameters)) == len(parameters), value
        challenges.append((challenge[1], dict(parameters)))
        rest = value[challenge.end() :]
        assert not rest or rest.startswith(", "), value
        value = rest.removeprefix(", ")
    return challenges


# Strings in tokens that our fixed texts and the contract contain too.
_COMMON = {"Bearer", "read:device", "read:devices", "read:readings", "protected", "application/"}


def secrets_of(request: bytes) -> Iterator[str]:
    """Yield what no answer may repeat: the request's credentials, and the strings in its tokens."""
    text = request.decode("latin-1")
    authorizations = re.findall(r"(?mi)^authorization ?:[ \t]*([^\r\n]*)", text)
    for credentials in (*authorizations, *re.findall(r"access_token=([^&\s]*)", text)):
        words = credentials.split()
        yield from (word for word in words if len(word) >= 12)
        for segment in re.split(r"[ .,]", credentials):
            if len(segment) >= 12:
                yield segment
            with contextlib.suppress(ValueError, RecursionError):
                yield from strings_in(json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))))


def strings_in(value: Any) -> Iterator[str]:
    match value:
        case str() if len(value) >= 6 and value not in _COMMON:
            yield value
        case dict():
            for name, member in value.items():
                yield from strings_in(name)
                yield from strings_in(member)
        case list():
            for member in value:
                yield from strings_in(member)


def assert_repeats_nothing(response: Response, request: bytes) -> None:
    for secret in secrets_of(request):
        for spelling in (secret, json.dumps(secret)[1:-1]):
            assert spelling.encode("utf-8", "surrogatepass") not in response.raw, secret


def assert_challenge(response: Response, answer: Answer, metadata: str | None) -> None:
    """Check the challenge (RFC 6750 §3, RFC 9728 §5.1); `metadata` is the expected `resource_metadata`."""
    challenges = response.all("www-authenticate")
    if answer.status not in {400, 401, 403}:
        assert challenges == []
        return
    assert len(challenges) == 1
    parameters = parse_challenge(challenges[0])
    assert parameters.pop("realm") == "device-api"
    assert parameters.pop("resource_metadata", None) == metadata
    if answer.error is not None:
        assert re.fullmatch(r"[A-Z][\x20\x21\x23-\x5b\x5d-\x7e]+\.", parameters.pop("error_description"))
    expected = {"error": answer.error, "scope": answer.scope}
    assert parameters == {name: value for name, value in expected.items() if value is not None}


def assert_problem(response: Response, answer: Answer) -> None:
    """Check the body of a refusal (RFC 9457)."""
    assert response.all("content-type") == ["application/problem+json"]
    problem = json.loads(response.body)
    scope = {"scope": answer.scope} if response.status == 403 and answer.scope else {}
    assert set(problem) == {"type", "title", "status", "detail", "error", "request_id", *scope}
    assert scope.items() <= problem.items()
    assert problem["status"] == answer.status
    codes = {401: "missing_credentials", 404: "not_found", 503: "temporarily_unavailable"}
    assert problem["error"] == (answer.error or codes[answer.status])
    assert problem["detail"]
    assert response.all("x-request-id") == [problem["request_id"]]
    if response.all("www-authenticate"):
        parameters = parse_challenge(response.all("www-authenticate")[0])
        assert parameters.get("error_description", problem["detail"]) == problem["detail"]


def assert_not_cached(response: Response) -> None:
    """Check that no cache may give one caller's answer to another (RFC 9111 §5.2.2.5)."""
    directives = {word.strip() for value in response.all("cache-control") for word in value.split(",")}
    assert "no-store" in directives


def assert_answer(response: Response, answer: Answer, request: bytes, metadata: str | None) -> None:
    """Check all of a response to `request`; `metadata` is the challenge's expected `resource_metadata`."""
    assert (response.status, len(response.all("content-length"))) == (answer.status, 1), response
    if response.status >= 400:
        assert_repeats_nothing(response, request)
    if answer.by_server:
        return
    assert_challenge(response, answer, metadata)
    if response.status >= 400:
        assert_not_cached(response)
    if answer.status == 503:
        assert re.fullmatch(r"[1-9]\d?", ", ".join(response.all("retry-after"))), response
    if request.startswith(b"HEAD"):
        assert response.body == b""
        return
    assert len(response.body) == int(response.all("content-length")[0])
    if response.status >= 400:
        assert_problem(response, answer)
