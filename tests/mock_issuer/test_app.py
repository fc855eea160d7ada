import pytest
import requests

from mock_issuer import Server


@pytest.mark.parametrize("issuer", [None, "http://issuer.example:9000/tenant/"])
def test_readyz_answers_every_host_even_where_the_controls_are_refused(issuer: str | None) -> None:
    with Server(issuer=issuer, allow_control=False) as server:
        response = requests.get(f"{server.url}readyz", headers={"Host": "elsewhere.example"}, timeout=10)
        refused = requests.post(f"{server.url}_mock/reset", json={}, timeout=10)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["Cache-Control"] == "no-store"
    assert refused.status_code == 403
