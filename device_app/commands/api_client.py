"""The API as this program calls it: each answer becomes data or one plain sentence."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import requests
from authlib.integrations.requests_client import OAuth2Session

from device_app.http.headers import bearer_parameters, retry_after_seconds, try_again_words
from device_app.http.transport import describe_failure, is_overloaded
from device_app.login.credentials import Credentials
from device_app.model.errors import AuthenticationNeededError, DeviceAppError, LoginNeededError, UnavailableError
from device_app.model.step_up import AuthenticationRequirements
from device_app.model.times import Clock, in_words, rfc3339
from device_app.model.tokens import Tokens
from device_app.model.untrusted import json_object, plain_text

__all__ = ["ApiClient"]

# The largest pages that the API gives.
_DEVICES_A_PAGE = 100
_READINGS_A_PAGE = 1_000
# A person waits this long before a screen that says so; longer, and they would rather have it back.
_LONGEST_WAIT_SECONDS = 30.0
# An API that always names a next page would otherwise keep us for ever.
_MOST_PAGES = 200
# What may be sent again after the network has failed, and how long to wait before each time.
_RETRY_WAITS_SECONDS = (1.0, 3.0)

_UNAUTHORIZED: Final = requests.codes.unauthorized
_FORBIDDEN: Final = requests.codes.forbidden
# RFC 9470 §3
_STEP_UP: Final = "insufficient_user_authentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What to ask of the API, except for whom."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, str] | None = None
    idempotency_key: str | None = None

    @property
    def doubt(self) -> str:
        """What to add where no answer tells whether it was done."""
        return "" if self.body is None else " Whether it was registered is not known: device devices tells."


class ApiClient:
    """The API at `address`, called with `credentials`.

    `http` carries the requests; `notify` is told why a call takes longer. Every method raises LoginNeededError when
    another login would help, UnavailableError when waiting would, DeviceAppError for the rest.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials,
        http: OAuth2Session,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._address = address.rstrip("/")
        self._credentials = credentials
        self._http = http
        self._clock = clock
        self._notify = notify

    def devices(self) -> list[dict[str, Any]]:
        """Return all devices of the person who is logged in."""
        return self._items("/v1/devices", {}, page_size=_DEVICES_A_PAGE)

    def readings(self, device_id: str, *, start: dt.datetime | None, at_most: int) -> list[dict[str, Any]]:
        """Return the newest readings of one device, newest first, of `start` or later."""
        path = f"/v1/devices/{quote(device_id, safe='')}/readings"
        query = {} if start is None else {"from": rfc3339(start)}
        return self._items(path, query, page_size=_READINGS_A_PAGE, at_most=at_most)

    def create_device(self, device: Mapping[str, str], *, idempotency_key: str) -> dict[str, Any]:
        """Register a device and return it as the API has it.

        When the network fails, it is sent again; by `idempotency_key` the API knows it for the same. Calls with one key
        register one device.
        """
        return self._call(_Request(method="POST", path="/v1/devices", body=device, idempotency_key=idempotency_key))

    def _items(
        self, path: str, query: Mapping[str, str], *, page_size: int, at_most: int | None = None
    ) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor_query: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            limit = page_size if at_most is None else min(page_size, at_most - len(items))
            page = self._call(_Request(method="GET", path=path, query={"limit": limit, **query, **cursor_query}))
            unverified_items, cursor = page.get("items"), page.get("next_cursor")
            if not isinstance(unverified_items, list) or not isinstance(cursor, str | None):
                raise self._nonsense()
            items += [item for item in unverified_items if isinstance(item, dict)]
            if not cursor or (at_most is not None and len(items) >= at_most):
                return items[:at_most]
            cursor_query = {"cursor": cursor}
        raise self._nonsense()

    def _call(self, request: _Request) -> dict[str, Any]:
        tokens = self._credentials.current()
        response = self._send(request, tokens)
        # Whatever the reason that it gives, or none: only where another way to log in is asked for, a new token is
        # no help.
        if response.status_code == _UNAUTHORIZED and _error(response) != _STEP_UP:
            tokens = self._credentials.renew(tokens)
            response = self._send(request, tokens)
        if is_overloaded(response):
            wait_seconds = retry_after_seconds(response.headers, self._clock.now())
            if wait_seconds is not None and wait_seconds <= _LONGEST_WAIT_SECONDS:
                self._notify(f"The API is busy; trying again in {in_words(wait_seconds)}.")
                self._clock.sleep(wait_seconds)
                response = self._send(request, tokens)
        if response.status_code not in {requests.codes.ok, requests.codes.created}:
            raise self._refusal(request, response, tokens)
        body = json_object(response)
        if body is None:
            raise self._nonsense()
        return body

    def _send(self, request: _Request, tokens: Tokens) -> requests.Response:
        # No expiry here: whether the token is fresh is for Credentials, which refreshes under a lock.
        self._http.token = {"token_type": "Bearer", "access_token": tokens.access_token}
        headers = {"Accept": "application/json"}
        if request.idempotency_key is not None:
            headers["Idempotency-Key"] = request.idempotency_key
        # A person who reads can ask again; what was to be written could be written twice.
        waits_seconds = iter(() if request.idempotency_key is None else _RETRY_WAITS_SECONDS)
        while True:
            try:
                return self._http.request(
                    request.method,
                    self._address + request.path,
                    params=request.query,
                    json=request.body,
                    headers=headers,
                )
            except requests.RequestException as exc:
                trouble = f"The API at {self._address} {describe_failure(exc)}"
                wait_seconds = next(waits_seconds, None)
                if wait_seconds is None:
                    raise UnavailableError(f"{trouble}.{request.doubt}") from exc
            self._notify(f"{trouble}; trying again in {in_words(wait_seconds)}.")
            self._clock.sleep(wait_seconds)

    def _refusal(self, request: _Request, response: requests.Response, tokens: Tokens) -> DeviceAppError:
        if response.status_code == _UNAUTHORIZED:
            login = tokens.request.command()
            if _error(response) == _STEP_UP:
                requirements = AuthenticationRequirements.from_challenge(_challenge(response))
                login = tokens.request.command(requirements=requirements)
                return AuthenticationNeededError(
                    f"The API asks for a newer or stronger login. Run: {login}", requirements
                )
            return LoginNeededError(f"The API does not accept this login. Run: {login}")
        if response.status_code == _FORBIDDEN and _error(response) == "insufficient_scope":
            return self._scope_missing(response, tokens)
        if is_overloaded(response):
            again = try_again_words(response.headers, self._clock.now())
            doubt = "" if response.status_code == requests.codes.too_many_requests else request.doubt
            return UnavailableError(f"The API cannot answer now (status {response.status_code}).{doubt} {again}")
        problem = json_object(response) or {}
        reason, request_id = (plain_text(problem.get(name), hide=tokens.secrets) for name in ("detail", "request_id"))
        reason = "; ".join(filter(None, [reason.rstrip("."), *_field_errors(problem, tokens)]))
        reason = reason or plain_text(problem.get("title"), hide=tokens.secrets) or "it gave no reason"
        trace = f", request {request_id}" if request_id else ""
        what = "Not found" if response.status_code == requests.codes.not_found else "The API refused"
        return DeviceAppError(f"{what}: {reason.rstrip('.')} (status {response.status_code}{trace}).")

    def _scope_missing(self, response: requests.Response, tokens: Tokens) -> LoginNeededError:
        needed = plain_text(_challenge(response).get("scope"), hide=tokens.secrets).split()
        granted = tokens.scope.split()
        missing = [word for word in needed if word not in granted]
        if not missing:
            return LoginNeededError("This login does not permit that, and the API does not say what would.")
        # Asked for together with what there is, because a login replaces the one before.
        scope = " ".join(dict.fromkeys([*tokens.request.scope.split(), *needed]))
        return LoginNeededError(
            f"This login lacks the scope {' '.join(missing)}. To ask for it, run: {tokens.request.command(scope)}"
        )

    def _nonsense(self) -> DeviceAppError:
        return DeviceAppError(f"{self._address} answered with something else than the API's JSON: is --api right?")


def _challenge(response: requests.Response) -> dict[str, str]:
    return bearer_parameters(response.headers.get("WWW-Authenticate", ""))


def _field_errors(problem: Mapping[str, Any], tokens: Tokens) -> Iterator[str]:
    """Yield what is wrong with each member of the body."""
    errors = problem.get("errors")
    for name, unverified_texts in errors.items() if isinstance(errors, dict) else ():
        for unverified_text in unverified_texts if isinstance(unverified_texts, list) else ():
            text = plain_text(unverified_text, hide=tokens.secrets).rstrip(".")
            if text:
                yield f"{plain_text(name, hide=tokens.secrets)}: {text}"


def _error(response: requests.Response) -> object:
    """Return the OAuth error code of a refusal: from its challenge, or from its body where a gateway ate the header."""
    return _challenge(response).get("error") or (json_object(response) or {}).get("error")
