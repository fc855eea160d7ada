"""Two API processes on one Redis: a DPoP proof opens once, whichever of them gets it."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.processes import running_api
from tests.kit.proofs import proof, thumbprint
from tests.kit.redis_server import RedisServer
from tests.kit.signing import claims, ec_key, jwks, rsa_key

pytestmark = [pytest.mark.slow, pytest.mark.needs("redis-server")]

KEY, DEVICE = rsa_key(0, "key-1"), ec_key()
PUBLIC_URL = "https://api.example"
SECRET = "a secret of thirty-two bytes, or more"


@dataclass(frozen=True)
class Servers:
    """Two processes that serve the API, and a token for them that is bound to a key."""

    urls: tuple[str, str]
    token: str

    def headers(self, nonce: str | None = None) -> dict[str, str]:
        made = proof(DEVICE, self.token, url=f"{PUBLIC_URL}/v1/me", nonce=nonce)
        return {"Authorization": f"DPoP {self.token}", "DPoP": made}

    def send(self, number: int, headers: dict[str, str]) -> requests.Response:
        return requests.get(f"{self.urls[number % 2]}/v1/me", headers=headers, timeout=30)

    def nonce(self) -> str:
        """Return the nonce that the first process gives out."""
        refused = self.send(0, self.headers())
        assert (refused.status_code, refused.json()["error"]) == (401, "use_dpop_nonce")
        return refused.headers["DPoP-Nonce"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        issuer = stack.enter_context(KeyServer())
        issuer.publish(jwks(KEY))
        redis = stack.enter_context(RedisServer())
        first, second = (
            stack.enter_context(
                running_api(
                    issuer.issuer,
                    tmp_path_factory.mktemp("api"),
                    API_REDIS_URL=redis.url,
                    API_PUBLIC_URL=PUBLIC_URL,
                    API_DPOP="required",
                    API_DPOP_NONCE_SECRET=SECRET,
                )
            )
            for _ in range(2)
        )
        token = KEY.sign(claims(iss=issuer.issuer, cnf={"jkt": thumbprint(DEVICE)}))
        yield Servers((first, second), token)


def test_a_proof_that_one_has_accepted_is_refused_by_the_other(servers: Servers) -> None:
    nonce = servers.nonce()
    for first in (0, 1):
        used = servers.headers(nonce)
        answers = [servers.send(number, used) for number in (first, first + 1, first)]
        assert [answer.status_code for answer in answers] == [200, 401, 401]
        assert [answer.json()["error"] for answer in answers[1:]] == ["invalid_dpop_proof"] * 2


def test_each_accepts_the_nonces_of_the_other(servers: Servers) -> None:
    nonce = servers.nonce()
    assert [servers.send(number, servers.headers(nonce)).status_code for number in range(2)] == [200, 200]


def test_a_thousand_parallel_replays_open_once(servers: Servers) -> None:
    used = servers.headers(servers.nonce())
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(answer.status_code for answer in pool.map(lambda n: servers.send(n, used), range(1_000)))
    assert statuses == {200: 1, 401: 999}
