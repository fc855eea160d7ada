"""An issuer publishes a private key: the API goes on with the others, and tells the operator."""

from pathlib import Path

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.processes import running_api
from tests.kit.signing import claims, jwks, rsa_key

pytestmark = pytest.mark.slow

KEY, PUBLISHED = rsa_key(0, "key-1"), rsa_key(1, "key-2")


def test_its_tokens_are_refused_and_a_metric_tells(tmp_path: Path) -> None:
    with KeyServer() as server:
        # RFC 7518 §6.3.2.1: `d` is the private exponent.
        server.publish(jwks(KEY, PUBLISHED.jwk(d="AQAB")))
        with running_api(server.issuer, tmp_path) as url:
            statuses = [
                requests.get(
                    f"{url}/v1/me",
                    headers={"Authorization": f"Bearer {key.sign(claims(iss=server.issuer))}"},
                    timeout=10,
                ).status_code
                for key in (KEY, PUBLISHED)
            ]
            metrics = requests.get(f"{url}/metrics", timeout=10).text
    assert statuses == [200, 401]
    (line,) = [line for line in metrics.splitlines() if line.startswith("api_key_set_faults_total{")]
    assert 'fault="private_key"' in line
    assert float(line.rpartition(" ")[2]) >= 1
