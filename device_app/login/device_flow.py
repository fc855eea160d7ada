"""The device authorization flow, as the device sees it (RFC 8628). Nothing here knows about a terminal."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from device_app.http.headers import retry_after_seconds, try_again_words
from device_app.http.transport import describe_failure, is_overloaded, is_web_address
from device_app.login.issuer import Issuer
from device_app.model.errors import AccessDeniedError, CodeExpiredError, DeviceAppError, UnavailableError
from device_app.model.step_up import NO_REQUIREMENTS, AuthenticationRequirements
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.model.untrusted import finite_number, json_object, plain_text

__all__ = ["DeviceCode", "DeviceFlow", "PollOutcome", "PollStatus"]

# RFC 8628 §3.4
_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
# RFC 8628 §3.2: where the issuer names no interval.
_DEFAULT_INTERVAL_SECONDS = 5.0
# RFC 8628 §3.5: how much each slow_down adds.
_SLOW_DOWN_SECONDS = 5.0
# An interval of 0 must not become a busy loop.
_SHORTEST_WAIT_SECONDS = 0.1
# Each failure doubles the interval, or the first figure where that is longer, up to the second one: an issuer that is
# back is noticed within a minute.
_LEAST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0
# Far beyond what anybody waits for, and within what a system's timers take.
_LONGEST_LIFETIME_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What to show the person, and what to poll with. `expires_at` is on the monotonic clock."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float
    interval_seconds: float


class PollOutcome(enum.Enum):
    """What the last poll brought."""

    NOT_ASKED = enum.auto()
    PENDING = enum.auto()
    SLOWED = enum.auto()
    UNAVAILABLE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollStatus:
    """Where the polling stands. `next_at` is on the monotonic clock; `trouble` says what is wrong, if anything."""

    asked: int
    outcome: PollOutcome
    wait_seconds: float
    next_at: float
    trouble: str = ""


class DeviceFlow:
    """One login at one issuer, of which `requirements` says how the person must log in there."""

    def __init__(
        self,
        *,
        issuer: Issuer,
        request: LoginRequest,
        http: requests.Session,
        clock: Clock,
        requirements: AuthenticationRequirements = NO_REQUIREMENTS,
    ) -> None:
        self._issuer = issuer
        self._request = request
        self._requirements = requirements
        self._http = http
        self._clock = clock

    def request_code(self) -> DeviceCode:
        """Ask for a device code and a user code (RFC 8628 §3.1).

        Raises UnavailableError when the issuer cannot answer now, DeviceAppError when it refuses or answers nonsense.
        """
        issuer_name = self._issuer.identifier
        if self._issuer.device_authorization_endpoint is None:
            raise DeviceAppError(f"The issuer {issuer_name} does not offer the device flow.")
        wanted = {"scope": self._request.scope, "audience": self._request.audience}
        form = {"client_id": self._request.client_id} | {name: value for name, value in wanted.items() if value}
        # RFC 9470 §4 has them in the authorization request, which this one is to a device.
        form.update(self._requirements.parameters())
        try:
            response = self._post(self._issuer.device_authorization_endpoint, form)
        except requests.RequestException as exc:
            raise UnavailableError(f"The issuer {issuer_name} {describe_failure(exc)}.") from exc
        if is_overloaded(response):
            again = try_again_words(response.headers, self._clock.now())
            raise UnavailableError(
                f"The issuer {issuer_name} cannot answer now (status {response.status_code}). {again}"
            )
        answer = json_object(response) or {}
        if response.status_code != requests.codes.ok:
            raise _refused("asking for a code", response, answer)
        return self._code(answer)

    def wait(self, code: DeviceCode, *, report: Callable[[PollStatus], None], sleep: Callable[[float], None]) -> Tokens:
        """Poll until the person has decided (RFC 8628 §3.4, §3.5), and return the tokens.

        `report` is told the state before each wait, `sleep` waits. Raises AccessDeniedError, CodeExpiredError, or
        DeviceAppError when the issuer refuses for another reason. An issuer that cannot be reached is asked again until
        the code expires.
        """
        interval_seconds = code.interval_seconds
        failures_in_a_row = 0
        asked = 0
        wait_seconds, outcome, trouble = interval_seconds, PollOutcome.NOT_ASKED, ""
        while True:
            # Auth0 and RFC 8628 §3.5 agree: the interval counts from the end of the last answer, that is from now.
            now = self._clock.monotonic()
            # Nothing is asked once the code has expired, however long the issuer would have us wait.
            wait_seconds = max(0.0, min(max(wait_seconds, _SHORTEST_WAIT_SECONDS), code.expires_at - now))
            report(
                PollStatus(
                    asked=asked,
                    outcome=outcome,
                    wait_seconds=wait_seconds,
                    next_at=now + wait_seconds,
                    trouble=trouble,
                )
            )
            sleep(wait_seconds)
            if self._clock.monotonic() >= code.expires_at:
                raise self._expired()
            asked += 1
            trouble = ""
            response, failure = self._poll(code)
            answer = {} if response is None else json_object(response) or {}
            error = answer.get("error")
            # RFC 8628 says 400 and Auth0 403 or 429: the member decides, not the status.
            if error == "authorization_pending":
                outcome, failures_in_a_row, wait_seconds = PollOutcome.PENDING, 0, interval_seconds
            elif error == "slow_down":
                interval_seconds = _slower(interval_seconds, answer)
                outcome, failures_in_a_row, wait_seconds = PollOutcome.SLOWED, 0, interval_seconds
            elif response is None or is_overloaded(response):
                failures_in_a_row += 1
                outcome, trouble = PollOutcome.UNAVAILABLE, failure
                wait_seconds = self._backoff_seconds(interval_seconds, failures_in_a_row, response)
            else:
                return self._decided(response, answer, code)

    def _poll(self, code: DeviceCode) -> tuple[requests.Response | None, str]:
        form = {
            "grant_type": _GRANT_TYPE,
            "device_code": code.device_code,
            "client_id": self._request.client_id,
        }
        try:
            response = self._post(self._issuer.token_endpoint, form)
        except requests.RequestException as exc:
            return None, describe_failure(exc)
        return response, f"answers with status {response.status_code}"

    def _decided(self, response: requests.Response, answer: Mapping[str, Any], code: DeviceCode) -> Tokens:
        match answer.get("error"):
            case "access_denied":
                raise AccessDeniedError("The request was refused. Nothing was stored.")
            case "expired_token":
                raise self._expired()
            case None if response.status_code == requests.codes.ok:
                return Tokens.from_response(answer, request=self._request, now=self._clock.now())
            case _:
                raise _refused("waiting for approval", response, answer, hide=code.device_code)

    def _expired(self) -> CodeExpiredError:
        again = self._request.command(requirements=self._requirements)
        return CodeExpiredError(f"The code has expired before it was approved. Run: {again}")

    def _backoff_seconds(
        self, interval_seconds: float, failures_in_a_row: int, response: requests.Response | None
    ) -> float:
        # RFC 8628 §3.5: on a time-out the frequency must fall; doubling is what it suggests.
        first = max(interval_seconds, _LEAST_BACKOFF_SECONDS)
        backoff = min(first * 2.0 ** min(failures_in_a_row, 10), max(first, _LONGEST_BACKOFF_SECONDS))
        if response is None:
            return backoff
        return max(backoff, retry_after_seconds(response.headers, self._clock.now()) or 0.0)

    def _post(self, url: str, form: dict[str, str]) -> requests.Response:
        return self._http.post(url, data=form, headers={"Accept": "application/json"})

    def _code(self, unverified_answer: Mapping[str, Any]) -> DeviceCode:
        device_code = unverified_answer.get("device_code")
        user_code = plain_text(unverified_answer.get("user_code"))
        verification_uri = _address(unverified_answer, "verification_uri")
        lifetime_seconds = finite_number(unverified_answer.get("expires_in"))
        if (
            not isinstance(device_code, str)
            or not device_code
            or not user_code
            or verification_uri is None
            or lifetime_seconds is None
        ):
            raise DeviceAppError("The issuer sent an incomplete answer to the request for a code.")
        interval_seconds = finite_number(unverified_answer.get("interval"))
        if interval_seconds is None or interval_seconds < 0:
            interval_seconds = _DEFAULT_INTERVAL_SECONDS
        return DeviceCode(
            device_code=device_code,
            user_code=user_code,
            verification_uri=verification_uri,
            verification_uri_complete=_address(unverified_answer, "verification_uri_complete"),
            expires_at=self._clock.monotonic() + min(lifetime_seconds, _LONGEST_LIFETIME_SECONDS),
            interval_seconds=interval_seconds,
        )


def _slower(interval_seconds: float, unverified_answer: Mapping[str, Any]) -> float:
    # Some issuers return the interval they want; one that repeats the old interval still asked for a slower one.
    wanted_seconds = finite_number(unverified_answer.get("interval"))
    if wanted_seconds is not None and wanted_seconds > interval_seconds:
        return wanted_seconds
    return interval_seconds + _SLOW_DOWN_SECONDS


def _refused(
    doing: str, response: requests.Response, unverified_answer: Mapping[str, Any], hide: str | None = None
) -> DeviceAppError:
    error = plain_text(unverified_answer.get("error"), hide=[hide])
    description = plain_text(unverified_answer.get("error_description"), hide=[hide])
    reason = ": ".join(filter(None, [error, description.rstrip(".")])) or f"status {response.status_code}"
    return DeviceAppError(f"The issuer refused while {doing} ({reason}).")


def _address(unverified_answer: Mapping[str, Any], name: str) -> str | None:
    """Return an address that is safe to print and to open, None where it is absent. Raises DeviceAppError if unsafe."""
    unverified_address = unverified_answer.get(name)
    if unverified_address is None:
        return None
    address = plain_text(unverified_address)
    # A changed address held something that does not belong into one; it is not for us to guess what was meant.
    if address != unverified_address or not is_web_address(address):
        raise DeviceAppError(f"The issuer sent a {name} that is no web address: “{address}”.")
    return address
