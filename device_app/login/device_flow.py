"""The device authorization grant as the device implements it (RFC 8628). No terminal input or output."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from device_app.http.dpop import INVALID_PROOF, ProvingClient
from device_app.http.headers import retry_after_seconds, try_again_sentence
from device_app.http.transport import describe_failure, is_http_url, is_temporary_failure
from device_app.login.issuer import Issuer
from device_app.model.errors import AccessDeniedError, CodeExpiredError, DeviceAppError, UnavailableError
from device_app.model.proof_key import ALGORITHM, ProofKey
from device_app.model.step_up import NO_REQUIREMENTS, AuthenticationRequirements
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.model.untrusted import finite_number, json_object, oauth_error_text, plain_text

__all__ = ["DeviceCode", "DeviceFlow", "PollOutcome", "PollStatus"]

# RFC 8628 §3.4
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8628 §3.2: the default if the issuer sends no interval.
_DEFAULT_INTERVAL_SECONDS = 5.0
# RFC 8628 §3.5: each slow_down adds 5 seconds.
_SLOW_DOWN_SECONDS = 5.0
# Prevents a busy loop if the interval is 0.
_MIN_WAIT_SECONDS = 0.1
# Each failure in a row doubles the wait, starting from the interval or from the minimum if that is longer. The maximum
# is short enough to notice within a minute that the issuer is back.
_MIN_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 60.0
# No user waits longer, and the system's timers accept it.
_MAX_LIFETIME_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """The device authorization response (RFC 8628 §3.2). `expires_at` is on the monotonic clock, in seconds."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float
    interval_seconds: float


class PollOutcome(enum.Enum):
    """The result of the last poll."""

    NOT_POLLED = enum.auto()
    PENDING = enum.auto()
    SLOW_DOWN = enum.auto()
    UNAVAILABLE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollStatus:
    """The state of the polling before a wait.

    `next_poll_at` is on the monotonic clock, in seconds. `failure` completes a sentence that begins with "The issuer";
    it is empty unless the outcome is UNAVAILABLE.
    """

    poll_count: int
    outcome: PollOutcome
    wait_seconds: float
    next_poll_at: float
    failure: str = ""


class DeviceFlow:
    """One login at one issuer.

    `requirements` say how the user must authenticate there (RFC 9470). The tokens are bound to `key`, whose possession
    each request proves (RFC 9449 §5); with None, to no key.
    """

    def __init__(
        self,
        *,
        issuer: Issuer,
        request: LoginRequest,
        http: requests.Session,
        clock: Clock,
        requirements: AuthenticationRequirements = NO_REQUIREMENTS,
        key: ProofKey | None = None,
    ) -> None:
        self._issuer = issuer
        self._request = request
        self._requirements = requirements
        self._client = ProvingClient(http, clock)
        self._clock = clock
        self._key = key

    def request_code(self) -> DeviceCode:
        """Request a device code and a user code (RFC 8628 §3.1).

        Raises UnavailableError if the issuer cannot be reached or fails for now, DeviceAppError if it refuses the
        request or its response cannot be used.
        """
        issuer_name = self._issuer.identifier
        if self._issuer.device_authorization_endpoint is None:
            raise DeviceAppError(f"The issuer {issuer_name} does not offer the device flow.")
        algorithms = self._issuer.dpop_algorithms
        if self._key is not None and algorithms is not None and ALGORITHM not in algorithms:
            raise DeviceAppError(f"The issuer {issuer_name} does not bind tokens to a key: log in without --dpop.")
        optional = {"scope": self._request.scope, "audience": self._request.audience}
        form = {"client_id": self._request.client_id} | {name: value for name, value in optional.items() if value}
        # RFC 9470 §4 adds them to the authorization request, which in the device flow is this one.
        form.update(self._requirements.parameters())
        try:
            response = self._post(self._issuer.device_authorization_endpoint, form)
        except requests.RequestException as exc:
            raise UnavailableError(f"The issuer {issuer_name} {describe_failure(exc)}.") from exc
        if is_temporary_failure(response):
            again = try_again_sentence(response.headers, self._clock.now())
            raise UnavailableError(
                f"The issuer {issuer_name} cannot answer now (status {response.status_code}). {again}"
            )
        body = json_object(response) or {}
        if response.status_code != requests.codes.ok:
            raise self._refusal("the request for a code", response, body)
        return self._parse_code(body)

    def _parse_code(self, unverified_body: Mapping[str, Any]) -> DeviceCode:
        device_code = unverified_body.get("device_code")
        user_code = plain_text(unverified_body.get("user_code"))
        verification_uri = _parse_uri(unverified_body, "verification_uri")
        lifetime_seconds = finite_number(unverified_body.get("expires_in"))
        if (
            not isinstance(device_code, str)
            or not device_code
            or not user_code
            or verification_uri is None
            or lifetime_seconds is None
        ):
            raise DeviceAppError("The issuer sent an incomplete response to the request for a code.")
        interval_seconds = finite_number(unverified_body.get("interval"))
        if interval_seconds is None or interval_seconds < 0:
            interval_seconds = _DEFAULT_INTERVAL_SECONDS
        return DeviceCode(
            device_code=device_code,
            user_code=user_code,
            verification_uri=verification_uri,
            verification_uri_complete=_parse_uri(unverified_body, "verification_uri_complete"),
            expires_at=self._clock.monotonic() + min(lifetime_seconds, _MAX_LIFETIME_SECONDS),
            interval_seconds=interval_seconds,
        )

    def poll(self, code: DeviceCode, *, report: Callable[[PollStatus], None], sleep: Callable[[float], None]) -> Tokens:
        """Poll the token endpoint until the user has approved or denied (RFC 8628 §3.4, §3.5); return the tokens.

        Calls `report` before each wait and `sleep` with its seconds. Keeps polling while the issuer cannot be reached.
        Raises AccessDeniedError, CodeExpiredError, or DeviceAppError if the issuer refuses for another reason.
        """
        interval_seconds = code.interval_seconds
        failures_in_a_row = 0
        poll_count = 0
        wait_seconds, outcome, failure = interval_seconds, PollOutcome.NOT_POLLED, ""
        while True:
            # RFC 8628 §3.2: the interval is the minimum between requests. It counts from the end of the last response.
            now = self._clock.monotonic()
            # No wait is longer than the code is valid, whatever interval the issuer sends.
            wait_seconds = max(0.0, min(max(wait_seconds, _MIN_WAIT_SECONDS), code.expires_at - now))
            report(
                PollStatus(
                    poll_count=poll_count,
                    outcome=outcome,
                    wait_seconds=wait_seconds,
                    next_poll_at=now + wait_seconds,
                    failure=failure,
                )
            )
            sleep(wait_seconds)
            if self._clock.monotonic() >= code.expires_at:
                raise self._expired()
            poll_count += 1
            response, failure = self._request_tokens(code)
            body = {} if response is None else json_object(response) or {}
            error = body.get("error")
            # `error` counts, not the status: RFC 6749 §5.2 requires 400, Auth0 sends 403 and 429.
            if error == "authorization_pending":
                outcome, failures_in_a_row, wait_seconds = PollOutcome.PENDING, 0, interval_seconds
            elif error == "slow_down":
                interval_seconds = _slower_interval(interval_seconds, body)
                outcome, failures_in_a_row, wait_seconds = PollOutcome.SLOW_DOWN, 0, interval_seconds
            elif response is None or is_temporary_failure(response):
                failures_in_a_row += 1
                outcome = PollOutcome.UNAVAILABLE
                failure = failure if response is None else f"answers with status {response.status_code}"
                wait_seconds = self._backoff_seconds(interval_seconds, failures_in_a_row, response)
            else:
                return self._finish(response, body, code)

    def _request_tokens(self, code: DeviceCode) -> tuple[requests.Response | None, str]:
        form = {
            "grant_type": _GRANT_TYPE,
            "device_code": code.device_code,
            "client_id": self._request.client_id,
        }
        try:
            return self._post(self._issuer.token_endpoint, form), ""
        except requests.RequestException as exc:
            return None, describe_failure(exc)

    def _backoff_seconds(
        self, interval_seconds: float, failures_in_a_row: int, response: requests.Response | None
    ) -> float:
        # RFC 8628 §3.5: back off exponentially on a connection timeout.
        first = max(interval_seconds, _MIN_BACKOFF_SECONDS)
        backoff = min(first * 2.0 ** min(failures_in_a_row, 10), max(first, _MAX_BACKOFF_SECONDS))
        if response is None:
            return backoff
        return max(backoff, retry_after_seconds(response.headers, self._clock.now()) or 0.0)

    def _finish(self, response: requests.Response, body: Mapping[str, Any], code: DeviceCode) -> Tokens:
        match body.get("error"):
            case "access_denied":
                raise AccessDeniedError("The login was denied. Nothing was stored.")
            case "expired_token":
                raise self._expired()
            case None if response.status_code == requests.codes.ok:
                return Tokens.from_response(body, request=self._request, now=self._clock.now(), key=self._key)
            case _:
                raise self._refusal("the request for tokens", response, body, hide=code.device_code)

    def _expired(self) -> CodeExpiredError:
        again = self._request.command(requirements=self._requirements)
        return CodeExpiredError(f"The code expired before it was approved. Run: {again}")

    def _refusal(
        self,
        request_name: str,
        response: requests.Response,
        unverified_body: Mapping[str, Any],
        hide: str | None = None,
    ) -> DeviceAppError:
        error = unverified_body.get("error")
        reason = oauth_error_text(error, unverified_body.get("error_description"), hide=[hide])
        message = f"The issuer refused {request_name} ({reason or f'status {response.status_code}'})."
        # RFC 6749 §5.2; Auth0 answers so for an unknown client. A tuple, since the value is unverified, perhaps a list.
        if error in ("invalid_client", "unauthorized_client"):
            message += f" The client ID is “{self._request.client_id}”; set another with --client-id."
        if error == INVALID_PROOF:
            message += " Is this machine's clock right?"
        return DeviceAppError(message)

    def _post(self, url: str, form: dict[str, str]) -> requests.Response:
        return self._client.send("POST", url, key=self._key, data=form, headers={"Accept": "application/json"})


def _slower_interval(interval_seconds: float, unverified_body: Mapping[str, Any]) -> float:
    # Some issuers send the interval to use from now on; it counts only if it is longer.
    new_interval_seconds = finite_number(unverified_body.get("interval"))
    if new_interval_seconds is not None and new_interval_seconds > interval_seconds:
        return new_interval_seconds
    return interval_seconds + _SLOW_DOWN_SECONDS


def _parse_uri(unverified_body: Mapping[str, Any], name: str) -> str | None:
    """Return a URI that is safe to print and to open, None if it is absent. Raises DeviceAppError if it is unsafe."""
    unverified_uri = unverified_body.get(name)
    if unverified_uri is None:
        return None
    uri = plain_text(unverified_uri)
    # If cleaning changed it, it held characters that no URI has.
    if uri != unverified_uri or not is_http_url(uri):
        raise DeviceAppError(
            f"The issuer sent an unusable {name}, “{uri}”: it must be an http or https URL without a user name."
        )
    return uri
