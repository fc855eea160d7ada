"""The client of the Device API. Each response becomes data or an error with a message."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import requests

from device_app.http.dpop import INVALID_PROOF, ProvingClient
from device_app.http.headers import challenge_parameters, retry_after_seconds, try_again_sentence
from device_app.http.transport import describe_failure, is_temporary_failure
from device_app.login.credentials import Credentials
from device_app.model.errors import AuthenticationNeededError, DeviceAppError, LoginNeededError, UnavailableError
from device_app.model.step_up import AuthenticationRequirements
from device_app.model.times import Clock, format_duration, format_rfc3339
from device_app.model.tokens import Tokens
from device_app.model.untrusted import json_object, plain_text

__all__ = ["ApiClient"]

_DEVICES_PATH: Final = "/v1/devices"
# The maximum page sizes of the API.
_DEVICES_PER_PAGE = 100
_READINGS_PER_PAGE = 1_000
# Limits the requests to an API whose every page has a next_cursor.
_MAX_PAGES = 200
# A longer Retry-After is not waited for, instead of keeping the user waiting.
_MAX_RETRY_AFTER_SECONDS = 30.0
# The waits before a request with an idempotency key is sent again after a network failure.
_RETRY_WAITS_SECONDS = (1.0, 3.0)

_UNAUTHORIZED: Final = requests.codes.unauthorized
_FORBIDDEN: Final = requests.codes.forbidden
# RFC 6750 §3.1
_INVALID_TOKEN: Final = "invalid_token"  # noqa: S105  # an error code
# RFC 9470 §3
_STEP_UP: Final = "insufficient_user_authentication"
# These 401 mean something else than that the access token is no longer valid.
_NO_TOKEN_ERRORS: Final = (_STEP_UP, INVALID_PROOF)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request to the API, without its access token."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, str] | None = None
    idempotency_key: str | None = None

    @property
    def unknown_outcome(self) -> str:
        """The sentence to add if no response says whether the request took effect; begins with a space."""
        return "" if self.body is None else " The device may have been registered nevertheless; check: device devices"


@dataclass(frozen=True, slots=True)
class _ErrorResponse:
    """What an error response says: its challenge (RFC 6750 §3, RFC 9449 §7.1) and its problem details (RFC 9457)."""

    status: int
    challenge: Mapping[str, str]
    problem: Mapping[str, Any]

    @classmethod
    def parse(cls, response: requests.Response) -> "_ErrorResponse":
        header = response.headers.get("WWW-Authenticate", "")
        # Of an API that takes both schemes, one of the challenges has the error.
        challenges = [challenge_parameters(header, scheme) for scheme in ("bearer", "dpop")]
        challenge = next((one for one in challenges if "error" in one), challenges[0])
        return cls(response.status_code, challenge, json_object(response) or {})

    @property
    def code(self) -> object:
        """The OAuth error code, from the body if a gateway has removed the challenge."""
        return self.challenge.get("error") or self.problem.get("error")


class ApiClient:
    """A client of the API at `url` with the login of `credentials`.

    `http` sends the requests; `notify` is called with a message before each wait. Every method raises LoginNeededError
    if another login is needed, UnavailableError if the same call may work later, and DeviceAppError otherwise.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials,
        http: requests.Session,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._client = ProvingClient(http, clock)
        self._clock = clock
        self._notify = notify

    def devices(self) -> list[dict[str, Any]]:
        """Return all devices of the user."""
        return self._list(_DEVICES_PATH, {}, page_size=_DEVICES_PER_PAGE)

    def find_device_id(self, name: str) -> str:
        """Return the ID of the user's device with this name, whatever its case.

        Raises DeviceAppError if there is none, or if there are several.
        """
        found = [
            device
            for device in self.devices()
            if isinstance(device.get("name"), str) and device["name"].casefold() == name.casefold()
        ]
        # The same name in another case counts only if no device has exactly this one.
        found = [device for device in found if device["name"] == name] or found
        device_ids = [device["id"] for device in found if isinstance(device.get("id"), str)]
        if len(device_ids) == 1:
            return str(device_ids[0])
        if not device_ids:
            raise DeviceAppError(f"You have no device with the name or ID “{plain_text(name)}”. See: device devices")
        listed = ", ".join(map(plain_text, device_ids))
        raise DeviceAppError(f"Several devices have the name “{plain_text(name)}”; name one by its ID: {listed}")

    def readings(self, device_id: str, *, start: dt.datetime | None, max_count: int) -> list[dict[str, Any]]:
        """Return the newest readings of a device, newest first, none before `start`."""
        path = f"{_DEVICES_PATH}/{quote(device_id, safe='')}/readings"
        query = {} if start is None else {"from": format_rfc3339(start)}
        return self._list(path, query, page_size=_READINGS_PER_PAGE, max_count=max_count)

    def create_device(self, device: Mapping[str, str], *, idempotency_key: str) -> dict[str, Any]:
        """Register a device and return the API's representation of it.

        Sends the request again if the network fails. Calls with the same `idempotency_key` register one device.
        """
        return self._call(_Request(method="POST", path=_DEVICES_PATH, body=device, idempotency_key=idempotency_key))

    def _list(
        self, path: str, query: Mapping[str, str], *, page_size: int, max_count: int | None = None
    ) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor_query: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            limit = page_size if max_count is None else min(page_size, max_count - len(items))
            page = self._call(_Request(method="GET", path=path, query={"limit": limit, **query, **cursor_query}))
            unverified_items, cursor = page.get("items"), page.get("next_cursor")
            if not isinstance(unverified_items, list) or not isinstance(cursor, str | None):
                raise self._unexpected_response()
            items += [item for item in unverified_items if isinstance(item, dict)]
            if not cursor or (max_count is not None and len(items) >= max_count):
                return items[:max_count]
            cursor_query = {"cursor": cursor}
        raise self._unexpected_response()

    def _call(self, request: _Request) -> dict[str, Any]:
        tokens = self._credentials.valid_tokens()
        response = self._send_until_verified(request, tokens)
        # A new access token may fix every other 401.
        if response.status_code == _UNAUTHORIZED and _ErrorResponse.parse(response).code not in _NO_TOKEN_ERRORS:
            tokens = self._credentials.refresh(tokens)
            response = self._send_until_verified(request, tokens)
        if is_temporary_failure(response) and self._wait_as_asked(response, "The API is busy"):
            response = self._send(request, tokens)
        if is_temporary_failure(response):
            raise self._unavailable(request, response)
        self._check_is_api(request, response)
        if response.status_code not in {requests.codes.ok, requests.codes.created}:
            raise _refusal(_ErrorResponse.parse(response), tokens)
        body = json_object(response)
        if body is None:
            raise self._unexpected_response()
        return body

    def _send_until_verified(self, request: _Request, tokens: Tokens) -> requests.Response:
        """Return the response to `request`; sent once more with the same tokens if the API asks to wait for that.

        The API refuses a token with Retry-After if it does not have the key yet that the token is signed with.
        """
        response = self._send(request, tokens)
        if (
            response.status_code == _UNAUTHORIZED
            and _ErrorResponse.parse(response).code == _INVALID_TOKEN
            and self._wait_as_asked(response, "The API cannot verify the access token yet")
        ):
            response = self._send(request, tokens)
        return response

    def _wait_as_asked(self, response: requests.Response, reason: str) -> bool:
        """Wait as long as Retry-After says. Return False, without a wait, if it is absent, malformed or too long."""
        wait_seconds = retry_after_seconds(response.headers, self._clock.now())
        if wait_seconds is None or wait_seconds > _MAX_RETRY_AFTER_SECONDS:
            return False
        self._notify(f"{reason}; trying again in {format_duration(wait_seconds)}.")
        self._clock.sleep(wait_seconds)
        return True

    def _send(self, request: _Request, tokens: Tokens) -> requests.Response:
        headers = {"Accept": "application/json"}
        if request.idempotency_key is not None:
            headers["Idempotency-Key"] = request.idempotency_key
        # A read is not sent again, since the user can repeat the command.
        waits_seconds = iter(() if request.idempotency_key is None else _RETRY_WAITS_SECONDS)
        while True:
            try:
                # RFC 6750 §2.1, RFC 9449 §7.1
                return self._client.send(
                    request.method,
                    self._url + request.path,
                    key=tokens.proof_key,
                    access_token=tokens.access_token,
                    params=request.query,
                    json=request.body,
                    headers=headers,
                )
            except requests.RequestException as exc:
                failure = f"The API at {self._url} {describe_failure(exc)}"
                wait_seconds = next(waits_seconds, None)
                if wait_seconds is None:
                    raise UnavailableError(f"{failure}.{request.unknown_outcome}") from exc
            self._notify(f"{failure}; trying again in {format_duration(wait_seconds)}.")
            self._clock.sleep(wait_seconds)

    def _unavailable(self, request: _Request, response: requests.Response) -> UnavailableError:
        again = try_again_sentence(response.headers, self._clock.now())
        # With 429 the request was not processed.
        is_processed = response.status_code != requests.codes.too_many_requests
        outcome = request.unknown_outcome if is_processed else ""
        return UnavailableError(f"The API cannot answer now (status {response.status_code}). {again}{outcome}")

    def _check_is_api(self, request: _Request, response: requests.Response) -> None:
        """Raise DeviceAppError for a refusal that the API does not send."""
        # A gateway may have removed both from a 401.
        if response.ok or response.status_code == _UNAUTHORIZED:
            return
        error = _ErrorResponse.parse(response)
        has_reason = bool(error.challenge or error.problem.keys() & {"error", "detail", "title"})
        # Every Device API has this path.
        lacks_path = error.status == requests.codes.not_found and request.path == _DEVICES_PATH
        if lacks_path or not has_reason:
            raise DeviceAppError(
                f"{self._url} is not the Device API: it answers {request.method} {request.path} with status "
                f"{error.status}. Is --api (DEVICE_API) right?"
            )

    def _unexpected_response(self) -> DeviceAppError:
        return DeviceAppError(
            f"{self._url} is not the Device API: its response is not the JSON that the API sends. "
            "Is --api (DEVICE_API) right?"
        )


def _refusal(error: _ErrorResponse, tokens: Tokens) -> DeviceAppError:
    if error.status == _UNAUTHORIZED and error.code == _STEP_UP:
        requirements = AuthenticationRequirements.from_challenge(error.challenge)
        login = tokens.request.command(requirements=requirements)
        return AuthenticationNeededError(f"The API requires a newer or stronger login. Run: {login}", requirements)
    if error.status == _UNAUTHORIZED and error.code == INVALID_PROOF:
        return DeviceAppError(
            "The API does not accept the proof that this machine has the key of the login (invalid_dpop_proof). Is its "
            "clock right, and is --api (DEVICE_API) the address under which the API knows itself?"
        )
    if error.status == _UNAUTHORIZED:
        return LoginNeededError(f"The API does not accept this login. Run: {tokens.request.command()}")
    if error.status == _FORBIDDEN and error.code == "insufficient_scope":
        return _insufficient_scope(error, tokens)

    def text(unverified_text: object) -> str:
        return plain_text(unverified_text, hide=tokens.secrets).rstrip(".")

    reason = "; ".join(filter(None, [text(error.problem.get("detail")), *_field_errors(error.problem, text)]))
    reason = reason or text(error.problem.get("title")) or "it gave no reason"
    request_id = text(error.problem.get("request_id"))
    trace = f", request {request_id}" if request_id else ""
    what = "Not found" if error.status == requests.codes.not_found else "The API refused"
    return DeviceAppError(f"{what}: {reason} (status {error.status}{trace}).")


def _insufficient_scope(error: _ErrorResponse, tokens: Tokens) -> LoginNeededError:
    """Return the error for `insufficient_scope` (RFC 6750 §3.1), with the login command that adds what is missing."""
    required = plain_text(error.challenge.get("scope"), hide=tokens.secrets).split()
    granted = tokens.scope.split()
    missing = [scope for scope in required if scope not in granted]
    if not missing:
        return LoginNeededError("This login lacks a scope, and the API does not say which.")
    # Added to the scopes of this login, which the new login replaces.
    scope = " ".join(dict.fromkeys([*tokens.request.scope.split(), *required]))
    return LoginNeededError(
        f"This login lacks the scope {' '.join(missing)}. To request it, run: {tokens.request.command(scope)}"
    )


def _field_errors(problem: Mapping[str, Any], text: Callable[[object], str]) -> Iterator[str]:
    """Yield "name: error" for each validation error of a member of the body."""
    errors = problem.get("errors")
    for name, unverified_texts in errors.items() if isinstance(errors, dict) else ():
        for unverified_text in unverified_texts if isinstance(unverified_texts, list) else ():
            if message := text(unverified_text):
                yield f"{text(name)}: {message}"
