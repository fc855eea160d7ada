from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mock_issuer import Client, Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_issuer.config import Profile
    from tests.mock_issuer.conftest import LiveIssuer

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.mark.parametrize(
    ("profile", "statuses"), [("auth0", [403, 429, 403, 403, 403]), ("rfc", [400, 400, 400, 400, 400])]
)
def test_errors_have_the_statuses_of_the_profile(
    make_issuer: Callable[[Config], LiveIssuer], profile: Profile, statuses: list[int]
) -> None:
    issuer = make_issuer(Config(profile=profile))
    device, refused = issuer.device(), issuer.device()
    issuer.person().refuse(refused["user_code"])
    answers = [issuer.poll(device), issuer.poll(device), issuer.poll(refused)]
    issuer.clock.advance(900)
    answers += [issuer.poll(device), issuer.poll({"device_code": "unknown"})]
    errors = ["authorization_pending", "slow_down", "access_denied", "expired_token", "invalid_grant"]
    assert [issuer.refused(answer) for answer in answers] == list(zip(statuses, errors, strict=True))


def test_slow_down_does_not_restart_the_interval(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.poll(device)
    issuer.clock.advance(4)
    assert issuer.refused(issuer.poll(device)) == (429, "slow_down")
    issuer.clock.advance(1)
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")


def test_a_clock_that_was_set_back_causes_no_slow_down(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.poll(device)
    issuer.clock.advance(-600)
    assert issuer.refused(issuer.poll(device)) == (403, "authorization_pending")
    assert issuer.refused(issuer.poll(device)) == (429, "slow_down")


def test_slow_down_adds_five_seconds_under_the_rfc_profile(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(profile="rfc"))
    device = issuer.device()
    issuer.poll(device)
    issuer.poll(device)
    issuer.clock.advance(9)
    assert issuer.refused(issuer.poll(device)) == (400, "slow_down")
    issuer.clock.advance(6)
    assert issuer.refused(issuer.poll(device)) == (400, "authorization_pending")


def test_an_approved_request_is_never_throttled(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.poll(device)
    issuer.person().approve(device["user_code"])
    assert issuer.poll(device).status_code == 200


def test_an_approved_request_expires_too(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.person().approve(device["user_code"])
    issuer.clock.advance(900)
    assert issuer.refused(issuer.poll(device)) == (403, "expired_token")


def test_an_old_request_is_deleted(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.clock.advance(900 + 3600)
    issuer.device()
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")


def test_eight_concurrent_redemptions_give_one_token(issuer: LiveIssuer) -> None:
    device = issuer.device(scope="read:devices offline_access")
    issuer.person().approve(device["user_code"])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: issuer.poll(device), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
    assert {issuer.refused(answer) for answer in answers if answer.status_code != 200} == {(403, "invalid_grant")}


def test_a_retried_poll_is_refused_and_leaves_the_tokens_valid(issuer: LiveIssuer) -> None:
    device = issuer.device(scope="read:devices offline_access")
    issuer.person().approve(device["user_code"])
    tokens = issuer.poll(device).json()
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")
    renewed = issuer.refresh(tokens["refresh_token"])
    assert renewed.status_code == 200
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")
    assert issuer.refresh(renewed.json()["refresh_token"]).status_code == 200


def test_reuse_of_a_device_code_revokes_its_refresh_token_where_configured(
    make_issuer: Callable[[Config], LiveIssuer],
) -> None:
    issuer = make_issuer(Config(device_code_reuse_revokes=True))
    device, other = (issuer.device(scope="read:devices offline_access") for _ in range(2))
    for each in (device, other):
        issuer.person().approve(each["user_code"])
    tokens, others = issuer.poll(device).json(), issuer.poll(other).json()
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")
    assert issuer.refused(issuer.refresh(tokens["refresh_token"])) == (403, "invalid_grant")
    assert issuer.refresh(others["refresh_token"]).status_code == 200


def test_another_clients_code_is_refused_and_stays_valid(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    other = Client(client_id="other", name="Other", grant_types=frozenset({DEVICE_CODE_GRANT}))
    issuer = make_issuer(Config(clients=(*Config().clients, other)))
    device = issuer.device(scope="read:devices offline_access")
    assert issuer.refused(issuer.poll(device, client_id="other")) == (403, "invalid_grant")
    issuer.person().approve(device["user_code"])
    assert issuer.refused(issuer.poll(device, client_id="other")) == (403, "invalid_grant")
    tokens = issuer.poll(device).json()
    assert issuer.refused(issuer.poll(device, client_id="other")) == (403, "invalid_grant")
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": 'a"b\\é'}, 400, "unsupported_grant_type"),
        ({"grant_type": DEVICE_CODE_GRANT}, 400, "invalid_request"),
        ({"grant_type": DEVICE_CODE_GRANT, "device_code": 'a"b\\é'}, 403, "invalid_grant"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, 400, "unauthorized_client"),
        ({"grant_type": "refresh_token", "client_id": "nobody"}, 401, "invalid_client"),
    ],
)
def test_refused_requests(issuer: LiveIssuer, form: dict[str, str], status: int, error: str) -> None:
    assert issuer.refused(issuer.token(**form)) == (status, error)
