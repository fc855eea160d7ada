"""Tests of service.py with the fixture of the installed distribution mock-issuer."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from mock_issuer import Api, Config, Server
from tests.packaging.strangers.service import create_app

AUDIENCE = "https://things.example"


@pytest.fixture(scope="session")
def mock_issuer_config() -> Config:
    return Config(apis=(Api(audience=AUDIENCE, name="Things", scopes={"read:things": "See things"}),))


@pytest.fixture
def client(mock_issuer: Server) -> Iterator[FlaskClient]:
    with create_app(mock_issuer.url, AUDIENCE).test_client() as client:
        yield client


def test_a_thing_has_its_owner(client: FlaskClient, mock_issuer: Server) -> None:
    token = mock_issuer.token(scope="read:things", sub="mock|alice")
    response = client.get("/things/1", headers={"Authorization": f"Bearer {token}"})
    assert response.get_json() == {"number": 1, "owner": "mock|alice"}
