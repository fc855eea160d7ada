import time
from collections.abc import Callable
from dataclasses import replace

import limits
import pytest
from flask import Blueprint
from flask.testing import FlaskClient

from api.auth import TrustedIssuer, require_auth
from api.auth.claims import read_claims
from api.auth.mtls import MutualTLS
from api.problems.problem import Problem
from api.settings import Settings
from api.shared.rate_limits import RateLimits
from api.shared.redis import SharedRedis
from tests.api.conftest import AppOf
from tests.kit.certificates import client_certificate
from tests.kit.headers import header_of
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE, ISSUER, claims

Limited = Callable[[str], FlaskClient]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def redis_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def limited(settings: Settings, app_of: AppOf, redis_url: str | None) -> Limited:
    def limited(rate: str) -> FlaskClient:
        return app_of(replace(settings, rate_limit=limits.parse(rate), redis_url=redis_url)).test_client()

    return limited


def statuses(client: FlaskClient, headers: dict[str, str], count: int, path: str = "/v1/me") -> list[int]:
    return [client.get(path, headers=headers).status_code for _ in range(count)]


def test_a_request_over_the_limit_is_429_with_retry_after(limited: Limited, bearer: Bearer) -> None:
    client, headers = limited("3/minute"), bearer()
    assert statuses(client, headers, 3) == [200, 200, 200]
    response = client.get("/v1/me", headers=headers)
    assert response.status_code == 429
    assert response.content_type == "application/problem+json"
    assert 1 <= int(header_of(response, "Retry-After")) <= 61
    assert response.headers.get("Cache-Control") == "no-store"
    assert "WWW-Authenticate" not in response.headers
    body = response.get_json()
    assert (body["status"], body["error"], body["type"]) == (429, "rate_limited", "/problems/rate-limited")
    assert body["detail"] == "Too many requests: the limit is 3 per 1 minute."


@pytest.mark.parametrize("rate", [None, "3/minute"])
def test_a_client_certificate_is_read_with_a_limit_and_without(
    settings: Settings, app_of: AppOf, bearer: Bearer, rate: str | None
) -> None:
    mine = client_certificate()
    changed = replace(
        settings,
        rate_limit=limits.parse(rate) if rate else None,
        mtls=MutualTLS(proxies=("127.0.0.1",), header="X-Cert"),
    )
    client = app_of(changed).test_client()
    headers = bearer(cnf={"x5t#S256": mine.thumbprint})
    assert client.get("/v1/me", headers={**headers, "X-Cert": mine.client_cert}).status_code == 200
    refused = client.get("/v1/me", headers=headers)
    assert refused.status_code == 401
    assert refused.get_json()["error"] == "invalid_token"


def test_the_window_ends_when_retry_after_says(limited: Limited, bearer: Bearer) -> None:
    client, headers = limited("1/2 seconds"), bearer()
    assert client.get("/v1/me", headers=headers).status_code == 200
    started = time.monotonic()
    ends_at = None
    asked_at = started
    while (response := client.get("/v1/me", headers=headers)).status_code == 429:
        announced = time.monotonic() + int(header_of(response, "Retry-After"))
        ends_at = announced if ends_at is None else min(ends_at, announced)
        assert time.monotonic() - started < 5  # the storages use real clocks
        asked_at = time.monotonic()
    assert ends_at is not None
    # The Redis storage of `limits` rounds to seconds: half a second off. A request takes a few milliseconds.
    assert asked_at - ends_at < 0.2


@pytest.mark.parametrize("other", [{"sub": "user-2"}, {"client_id": "other-app"}, {"client_id": None}])
def test_each_subject_and_client_has_its_own_limit(limited: Limited, bearer: Bearer, other: dict[str, str]) -> None:
    client = limited("1/minute")
    assert statuses(client, bearer(), 2) == [200, 429]
    assert statuses(client, bearer(**other), 2) == [200, 429]


def test_similar_names_of_two_callers_are_distinguished(limited: Limited, bearer: Bearer) -> None:
    client = limited("1/minute")
    for subject, client_id in (("a/b", "c"), ("a", "b/c"), ('a", "b', "c"), ("a", 'b", "c')):
        assert statuses(client, bearer(sub=subject, client_id=client_id), 2) == [200, 429]


def test_all_tokens_of_a_caller_share_one_limit(limited: Limited, bearer: Bearer) -> None:
    client = limited("2/minute")
    assert [statuses(client, bearer(jti=jti), 1) for jti in "abc"] == [[200], [200], [429]]


def test_a_request_counts_once_even_if_two_decorators_protect_it(
    settings: Settings, app_of: AppOf, bearer: Bearer
) -> None:
    app = app_of(replace(settings, rate_limit=limits.parse("2/minute")))
    guarded = require_auth()(Blueprint("guarded", __name__))

    @guarded.get("/guarded")
    @require_auth("read:devices")
    def view() -> str:
        return ""

    app.register_blueprint(guarded)
    assert statuses(app.test_client(), bearer(), 3, "/guarded") == [200, 200, 429]


def test_refused_requests_do_not_count(limited: Limited, bearer: Bearer) -> None:
    client, good = limited("1/minute"), bearer()
    expired = bearer(exp=1)
    forged = {"Authorization": good["Authorization"][:-8] + "AAAAAAAA"}
    for headers in (expired, forged, {}, {"Authorization": "Bearer"}):
        assert 200 not in statuses(client, headers, 3)
    assert client.get("/v1/devices", headers=bearer(scope="none")).status_code == 403
    assert statuses(client, good, 2) == [200, 429]


def test_routes_without_a_token_are_not_limited(limited: Limited, bearer: Bearer) -> None:
    client, headers = limited("1/minute"), bearer()
    assert statuses(client, headers, 2) == [200, 429]
    for path in ("/livez", "/metrics", "/openapi.yaml", "/problems", "/.well-known/oauth-protected-resource"):
        assert statuses(client, headers, 3, path) == [200, 200, 200]


def test_it_is_off_unless_set(client: FlaskClient, bearer: Bearer) -> None:
    assert set(statuses(client, bearer(), 50)) == {200}


# Redis is down


def skipped(client: FlaskClient) -> float:
    text = client.get("/metrics").get_data(as_text=True)
    return sum(
        float(line.split()[1]) for line in text.splitlines() if line.startswith('api_redis_missed_total{use="li')
    )


@pytest.fixture(params=["stop", "hang"])
def lose(request: pytest.FixtureRequest, stoppable_redis: RedisServer) -> Callable[[], None]:
    lose: Callable[[], None] = getattr(stoppable_redis, request.param)
    return lose


@pytest.mark.needs("redis-server")
def test_requests_pass_while_redis_is_down_and_are_limited_after(
    settings: Settings, app_of: AppOf, bearer: Bearer, stoppable_redis: RedisServer, lose: Callable[[], None]
) -> None:
    app = app_of(replace(settings, rate_limit=limits.parse("2/minute"), redis_url=stoppable_redis.url))
    client, headers = app.test_client(), bearer()
    assert statuses(client, headers, 3) == [200, 200, 429]

    lose()
    before = skipped(client)
    started = time.monotonic()
    assert statuses(client, headers, 40) == [200] * 40
    assert time.monotonic() - started < 2
    assert skipped(client) - before == 40

    stoppable_redis.stop()
    stoppable_redis.start()
    app.extensions["revocations"].refresh()
    assert statuses(client, headers, 3) == [200, 200, 429]


def test_clients_without_subject_have_their_own_limits() -> None:
    counted = RateLimits(limits.parse("1/minute"), None)
    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), subject_required=False)
    # Two machines, and a user with the second one's id as subject.
    for changes in ({"sub": None}, {"sub": None, "client_id": "other"}, {"sub": "other", "client_id": "other"}):
        token = read_claims(claims(**changes), b"{}", issuer)
        counted.count(token)
        with pytest.raises(Problem):
            counted.count(token)


@pytest.mark.needs("redis-server")
def test_a_connection_closed_by_a_restart_is_reopened(stoppable_redis: RedisServer) -> None:
    # Without an application, whose refresh thread could find Redis down between stop and start.
    redis = SharedRedis(stoppable_redis.url)
    counted = RateLimits(limits.parse("1/minute"), redis)
    token = read_claims(claims(), b"{}", TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,)))
    for _ in range(2):
        counted.count(token)
        with pytest.raises(Problem):
            counted.count(token)
        stoppable_redis.stop()
        stoppable_redis.start()
    assert redis.is_up
    redis.close()
