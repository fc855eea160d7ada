import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient

from api.auth import AuthConfig, TrustedIssuer
from api.docs import contract
from api.settings import Settings
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.processes import ROOT


def test_the_contract_is_the_file(client: FlaskClient) -> None:
    response = client.get("/openapi.yaml")
    assert response.status_code == 200
    assert response.content_type == "application/yaml"
    assert response.get_data() == (ROOT / "openapi.yaml").read_bytes()
    assert response.headers.get("Cache-Control") == "max-age=300"


def test_the_json_has_the_same_content(client: FlaskClient) -> None:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.get_json() == yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))


def test_a_missing_contract_is_a_404(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contract, "_PATH", tmp_path / "openapi.yaml")
    for read in (contract.contract_as_yaml, contract.contract_as_json):
        read.cache_clear()
    for path in ("/openapi.yaml", "/openapi.json"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.get_json()["detail"] == "openapi.yaml is not installed; copy it next to the folder api."


@pytest.mark.parametrize(
    ("public_url", "path"), [(None, "/docs"), ("https://tv.example/api", "/api/docs"), ("https://tv.example/", "/docs")]
)
def test_the_root_leads_to_the_page(settings: Settings, app_of: AppOf, public_url: str | None, path: str) -> None:
    response = app_of(replace(settings, public_url=public_url)).test_client().get("/")
    assert (response.status_code, header_of(response, "Location")) == (302, path)


def test_the_page_may_use_only_this_api_and_its_issuers(settings: Settings, app_of: AppOf) -> None:
    issuers = (
        TrustedIssuer(identifier="https://a.example/tenant/", audiences=("one", "two")),
        TrustedIssuer(identifier='https://b.example:8443/x"><script>', audiences=("three",)),
    )
    client = app_of(replace(settings, auth=AuthConfig(issuers=issuers))).test_client()
    response = client.get("/docs")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    policy = header_of(response, "Content-Security-Policy")
    assert "default-src 'none'; script-src 'self';" in policy
    assert "connect-src 'self' https://a.example https://b.example:8443;" in policy
    text = response.get_data(as_text=True)
    assert 'value="https://a.example/tenant/" data-audience="one"' in text
    (scopes,) = re.findall(r'name="scope" value="([^"]*)"', text)
    # The scopes of an ordinary caller: an issuer would refuse `read:devices:all`.
    assert set(scopes.split()) == {"read:devices", "read:readings", "write:devices", "write:readings"}
    assert "<script>" not in text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(addresses) > 4
    for address in addresses:
        assert client.get(f"/{address}").status_code == 200, address


def test_no_other_file_is_served(client: FlaskClient) -> None:
    for name in ("docs.html", "index.css", "..%2fsettings.py", "%2e%2e/settings.py", ""):
        response = client.get(f"/docs/{name}")
        assert response.status_code == 404
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("docs.js", "text/javascript"),
        ("docs.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_a_file_has_its_media_type(client: FlaskClient, name: str, media_type: str) -> None:
    # No ranges: clients read these files whole.
    response = client.get(f"/docs/{name}", headers={"Range": "bytes=1000000000-"})
    assert response.status_code == 200
    assert response.mimetype == media_type
    assert response.headers.get("X-Content-Type-Options") == "nosniff"
    assert response.headers.get("Cache-Control") == "max-age=300"
