from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from device_app.login.device_flow import DeviceFlow, PollOutcome, PollStatus
from device_app.login.issuer import discover
from device_app.model.errors import AccessDeniedError, CodeExpiredError, DeviceAppError, UnavailableError

if TYPE_CHECKING:
    import requests

    from device_app.model.tokens import LoginRequest, Tokens
    from tests.device_app.conftest import FakeTime, ScriptedServer

PENDING = {"error": "authorization_pending"}
SLOW_DOWN = {"error": "slow_down"}
GRANTED = {
    "access_token": "access-secret-1",
    "refresh_token": "refresh-secret-1",
    "token_type": "Bearer",
    "expires_in": 3600,
    "scope": "openid read:devices",
}


class Flow:
    def __init__(self, server: ScriptedServer, time: FakeTime, http: requests.Session, request: LoginRequest) -> None:
        self.flow = DeviceFlow(issuer=discover(server.issuer, http), request=request, http=http, clock=time.clock)
        self.time = time
        self.reports: list[PollStatus] = []

    def run(self) -> Tokens:
        code = self.flow.request_code()
        return self.flow.poll(code, report=self.reports.append, sleep=self.time.sleep)

    @property
    def outcomes(self) -> list[PollOutcome]:
        return [report.outcome for report in self.reports]


@pytest.fixture
def flow(server: ScriptedServer, time: FakeTime, http: requests.Session, login_request: LoginRequest) -> Flow:
    server.offer_code()
    return Flow(server, time, http, login_request)


def test_the_whole_exchange(server: ScriptedServer, flow: Flow, time: FakeTime) -> None:
    server.on("POST /token", (400, PENDING), (403, PENDING), (200, GRANTED))
    tokens = flow.run()
    assert tokens.access_token == "access-secret-1"
    assert tokens.refresh_token == "refresh-secret-1"
    assert tokens.scope == "openid read:devices"
    assert tokens.expires_at == time.clock.now() + 3600
    assert server.to("/device")[0].form == {
        "client_id": "device-app",
        "scope": "openid offline_access read:devices",
        "audience": "https://device-api.example",
    }
    assert server.to("/token")[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "device-code-secret",
        "client_id": "device-app",
    }
    assert time.slept == [5, 5, 5]
    assert flow.outcomes == [PollOutcome.NOT_POLLED, PollOutcome.PENDING, PollOutcome.PENDING]
    assert [report.poll_count for report in flow.reports] == [0, 1, 2]


def test_the_interval_counts_from_the_end_of_the_last_answer(
    server: ScriptedServer, flow: Flow, time: FakeTime
) -> None:
    def take_three_seconds(_: object) -> None:
        time.elapsed += 3

    server.on("POST /token", (400, PENDING), (200, GRANTED))
    server.before_answer = take_three_seconds
    flow.run()
    assert time.slept == [5, 5]


@pytest.mark.parametrize(
    ("interval", "first_wait"),
    [(..., 5), (2, 2), (0, 0.1), (1.5, 1.5), (-1, 5), ("3", 5), (True, 5), (None, 5)],
)
def test_interval(server: ScriptedServer, flow: Flow, time: FakeTime, interval: Any, first_wait: float) -> None:
    server.offer_code(interval=interval)
    server.on("POST /token", (200, GRANTED))
    flow.run()
    assert time.slept == [first_wait]


@pytest.mark.parametrize(
    ("status", "returned", "later"),
    [
        (400, {}, 10),
        (403, {"interval": 12}, 12),
        (429, {"interval": 5}, 10),
        (400, {"interval": "x"}, 10),
    ],
)
def test_slow_down(  # noqa: PLR0917  # fixtures and a row's columns
    server: ScriptedServer, flow: Flow, time: FakeTime, status: int, returned: dict[str, Any], later: float
) -> None:
    server.on("POST /token", (status, SLOW_DOWN | returned), (400, PENDING), (200, GRANTED))
    flow.run()
    # RFC 8628 §3.5: for this and all subsequent requests.
    assert time.slept == [5, later, later]
    assert flow.outcomes == [PollOutcome.NOT_POLLED, PollOutcome.SLOW_DOWN, PollOutcome.PENDING]


@pytest.mark.parametrize("seconds", [1e12, 1e300])
def test_no_wait_is_longer_than_the_code_is_valid(
    server: ScriptedServer, flow: Flow, time: FakeTime, seconds: float
) -> None:
    server.on("POST /token", (400, SLOW_DOWN | {"interval": seconds}))
    with pytest.raises(CodeExpiredError):
        flow.run()
    assert time.slept == [5, 895]
    assert [report.wait_seconds for report in flow.reports] == [5, 895]


def test_no_code_is_valid_longer_than_a_day(server: ScriptedServer, flow: Flow, time: FakeTime) -> None:
    server.offer_code(expires_in=1e300, interval=1e300)
    with pytest.raises(CodeExpiredError):
        flow.run()
    assert time.slept == [86_400]


def test_network_errors_and_server_errors_back_off_exponentially(
    server: ScriptedServer, flow: Flow, time: FakeTime
) -> None:
    server.on(
        "POST /token",
        (0, ""),
        (503, "<html>"),
        (0, ""),
        (500, {"error": "server_error"}),
        (0, ""),
        (400, PENDING),
        (200, GRANTED),
    )
    flow.run()
    assert time.slept == [5, 10, 20, 40, 60, 60, 5]
    assert flow.reports[1].failure == "cannot be reached"
    assert flow.reports[2].failure == "answers with status 503"


def test_retry_after_extends_the_wait(server: ScriptedServer, flow: Flow, time: FakeTime) -> None:
    server.on("POST /token", (429, "calm", {"Retry-After": "33"}), (503, "", {"Retry-After": "1"}), (200, GRANTED))
    flow.run()
    assert time.slept == [5, 33, 20]


def test_a_code_expires_by_the_clock_without_a_last_poll(server: ScriptedServer, flow: Flow, time: FakeTime) -> None:
    server.offer_code(expires_in=12)
    server.on("POST /token", (400, PENDING))
    with pytest.raises(CodeExpiredError, match="expired"):
        flow.run()
    assert time.slept == [5, 5, 2]
    assert len(server.to("/token")) == 2


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    ("error", "expected"), [("expired_token", CodeExpiredError), ("access_denied", AccessDeniedError)]
)
def test_denied_and_expired_end_the_polling(
    server: ScriptedServer, flow: Flow, status: int, error: str, expected: type[DeviceAppError]
) -> None:
    server.on("POST /token", (status, {"error": error}))
    with pytest.raises(expected):
        flow.run()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (400, {"error": "invalid_grant", "error_description": "code device-code-secret \x1b[2Junknown"}),
            r"invalid_grant: code … \[2Junknown",
        ),
        ((404, "not here"), "status 404"),
        ((401, {"error": "invalid_client"}), r"\(invalid_client\)\. The client ID is “device-app”; set another with"),
        ((400, {"error": ["odd"]}), "status 400"),
        ((302, "", {"Location": "https://elsewhere.example/"}), None),
        ((200, "not JSON"), "no usable access token"),
        ((200, GRANTED | {"access_token": "line\r\nbreak"}), "no usable access token"),
        ((200, GRANTED | {"token_type": "DPoP"}), "another type"),
    ],
)
def test_answers_that_end_the_polling(server: ScriptedServer, flow: Flow, answer: Any, sentence: str | None) -> None:
    server.on("POST /token", answer)
    if sentence is None:  # a redirect counts as a network failure, which may pass
        server.offer_code(expires_in=16)
        sentence = "expired"
    with pytest.raises(DeviceAppError, match=sentence) as caught:
        flow.run()
    assert "device-code-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device_code": ...}, "incomplete"),
        ({"user_code": ...}, "incomplete"),
        ({"user_code": "\x1b\x07"}, "incomplete"),
        ({"verification_uri": ...}, "incomplete"),
        ({"expires_in": ...}, "incomplete"),
        ({"verification_uri": "javascript:alert(1)"}, "must be an http or https URL"),
        ({"verification_uri": "file:///etc/passwd"}, "must be an http or https URL"),
        ({"verification_uri": "https://a.example/\x1b]8;;"}, "must be an http or https URL"),
        ({"verification_uri": "https://bank.example@a.example/"}, "must be an http or https URL"),
        ({"verification_uri_complete": "ssh://a.example"}, "must be an http or https URL"),
        ({"verification_uri_complete": 7}, "must be an http or https URL"),
    ],
)
def test_codes_that_cannot_be_used(server: ScriptedServer, flow: Flow, changes: dict[str, Any], sentence: str) -> None:
    server.offer_code(**changes)
    with pytest.raises(DeviceAppError, match=sentence):
        flow.run()


def test_a_code_is_stripped_of_escape_sequences(server: ScriptedServer, flow: Flow) -> None:
    server.offer_code(user_code="\x1b[31mAB\u202eCD")
    assert flow.flow.request_code().user_code == "[31mABCD"


def test_verification_uri_complete_is_optional(server: ScriptedServer, flow: Flow) -> None:
    server.offer_code(verification_uri_complete=...)
    assert flow.flow.request_code().verification_uri_complete is None


@pytest.mark.parametrize(
    ("answer", "expected", "sentence"),
    [
        ((403, {"error": "unauthorized_client"}), DeviceAppError, "unauthorized_client"),
        ((200, "[" * 100_000), DeviceAppError, "incomplete"),
        ((429, {}, {"Retry-After": "90"}), UnavailableError, "in 90 seconds"),
        ((503, ""), UnavailableError, "again later"),
        ((0, ""), UnavailableError, "cannot be reached"),
        ((307, "", {"Location": "http://127.0.0.1:1/"}), UnavailableError, "redirect"),
    ],
)
def test_refusals_to_give_a_code(
    server: ScriptedServer, flow: Flow, answer: Any, expected: type[DeviceAppError], sentence: str
) -> None:
    server.on("POST /device", answer)
    with pytest.raises(expected, match=sentence):
        flow.run()


def test_secrets_stay_out_of_representations(server: ScriptedServer, flow: Flow) -> None:
    server.on("POST /token", (200, GRANTED))
    assert "secret" not in repr(flow.flow.request_code())
    assert "secret" not in repr(flow.run())
