"""Each request is decided once: what comes second changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mock_issuer.flow import decisions

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mock_issuer.config import User
    from mock_issuer.flow.issuer import Issuer
    from mock_issuer.flow.records import DeviceGrant
    from tests.mock_issuer.conftest import LiveIssuer


def user(issuer: Issuer, name: str) -> User:
    found = issuer.config.find_user(username=name)
    assert found is not None
    return found


def approve(issuer: Issuer, grant: DeviceGrant, name: str = "alice") -> bool:
    return decisions.approve(issuer, grant, user(issuer, name), auth_time=int(issuer.clock()))


def approve_as_bob(issuer: Issuer, grant: DeviceGrant) -> bool:
    return approve(issuer, grant, "bob")


def deny(issuer: Issuer, grant: DeviceGrant) -> bool:
    return decisions.deny(issuer, grant, user(issuer, "bob"))


def expire(issuer: Issuer, grant: DeviceGrant) -> bool:
    issuer.state.expire(grant, now=issuer.clock())
    return False


def started(live: LiveIssuer) -> tuple[Issuer, dict[str, Any], DeviceGrant]:
    device, issuer = live.device(scope="read:devices offline_access"), live.server._issuer
    grant = issuer.state.find_pending(device["user_code"], now=issuer.clock())
    assert grant is not None
    return issuer, device, grant


LATE = [approve_as_bob, deny, decisions.cancel, expire]


@pytest.mark.parametrize("late", LATE)
def test_an_approved_request_stays_approved(issuer: LiveIssuer, late: Callable[[Issuer, DeviceGrant], bool]) -> None:
    inner, device, grant = started(issuer)
    assert approve(inner, grant)
    assert not late(inner, grant)
    token = issuer.poll(device).json()["access_token"]
    assert [event.type for event in issuer.server.events] == ["sede"]
    assert issuer.verify(token)[1]["sub"] == "mock|alice"
    assert not inner.state.has_consent("mock|bob", grant)


@pytest.mark.parametrize("late", LATE)
def test_a_redeemed_request_stays_redeemed(issuer: LiveIssuer, late: Callable[[Issuer, DeviceGrant], bool]) -> None:
    inner, device, grant = started(issuer)
    assert approve(inner, grant)
    assert issuer.poll(device).status_code == 200
    assert not late(inner, grant)
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")
    assert not inner.state.has_consent("mock|bob", grant)


@pytest.mark.parametrize("first", [deny, decisions.cancel])
@pytest.mark.parametrize("late", LATE)
def test_a_refused_request_stays_refused(
    issuer: LiveIssuer, first: Callable[[Issuer, DeviceGrant], bool], late: Callable[[Issuer, DeviceGrant], bool]
) -> None:
    inner, device, grant = started(issuer)
    assert first(inner, grant)
    assert not late(inner, grant)
    assert issuer.refused(issuer.poll(device)) == (403, "access_denied")
    assert [event.type for event in issuer.server.events].count("sede") == 0
    assert not inner.state.has_consent("mock|bob", grant)


@pytest.mark.parametrize("late", LATE)
def test_an_expired_request_cannot_be_decided(issuer: LiveIssuer, late: Callable[[Issuer, DeviceGrant], bool]) -> None:
    inner, device, grant = started(issuer)
    issuer.clock.advance(899)
    assert inner.state.find_pending(device["user_code"], now=inner.clock()) is not None
    issuer.clock.advance(1)
    assert not late(inner, grant)
    assert issuer.refused(issuer.poll(device)) == (403, "expired_token")
    assert issuer.server.events[-1].type == "fede"
    assert len(issuer.server.events) == 1
    assert not inner.state.has_consent("mock|bob", grant)


def test_a_forgotten_request_cannot_be_decided(issuer: LiveIssuer) -> None:
    inner, device, grant = started(issuer)
    inner.state.reset()
    assert not any(late(inner, grant) for late in LATE)
    assert issuer.refused(issuer.poll(device)) == (403, "invalid_grant")
    assert not inner.state.has_consent("mock|bob", grant)


def test_a_refusal_is_logged_with_who_refused_what(issuer: LiveIssuer) -> None:
    inner, _, grant = started(issuer)
    assert deny(inner, grant)
    (event,) = issuer.server.events
    assert (event.type, event.client_id, event.ip) == ("fdeac", "device-app", "127.0.0.1")
    assert (event.user_id, event.user_name) == ("mock|bob", "Bob Example")
    assert (event.audience, event.scope) == ("https://device-api.example", "read:devices offline_access")
