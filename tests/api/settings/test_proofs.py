from pathlib import Path

import pytest

from api.auth.mtls import MutualTLS
from api.settings import DPoPSettings
from tests.kit.settings import load, mistakes

# DPoP

DPOP = {"API_DPOP": "optional", "API_PUBLIC_URL": "https://api.example"}
SECRET = "a secret of thirty-two bytes, or more"


def test_dpop_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).dpop is None


def test_the_defaults_of_dpop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **DPOP).dpop == DPoPSettings(
        required=False, algorithms=("ES256", "EdDSA", "Ed25519", "RS256", "PS256"), window_seconds=60, nonce_secret=None
    )


def test_every_variable_of_dpop_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        **DPOP | {"API_DPOP": "required"},
        API_DPOP_ALGORITHMS="ES256, EdDSA",
        API_DPOP_WINDOW_SECONDS="600",
        API_DPOP_NONCE_SECRET=SECRET,
    )
    assert settings.dpop == DPoPSettings(
        required=True, algorithms=("ES256", "EdDSA"), window_seconds=600, nonce_secret=SECRET.encode()
    )
    assert SECRET not in repr(settings)


def test_the_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = load(monkeypatch, **DPOP, API_DPOP_NONCE_SECRET_FILE=str(tmp_path / "secret"))
    assert settings.dpop is not None
    assert settings.dpop.nonce_secret == SECRET.encode()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("API_DPOP", "yes", "yes is not one of optional, required"),
        ("API_DPOP_ALGORITHMS", "ES256,HS256", "HS256 is not one of ES256, EdDSA, Ed25519, RS256, PS256"),
        ("API_DPOP_ALGORITHMS", "ES256,,", "has an empty entry"),
        ("API_DPOP_WINDOW_SECONDS", "0", "must be between 1 and 600"),
        ("API_DPOP_WINDOW_SECONDS", "601", "must be between 1 and 600"),
        ("API_DPOP_WINDOW_SECONDS", "a minute", "is not a whole number"),
        ("API_DPOP_NONCE_SECRET", "too short", "has fewer than 32 bytes"),
        ("API_DPOP_NONCE_SECRET", " " * 40, "has fewer than 32 bytes"),
        ("API_DPOP_NONCE_SECRET_FILE", "/nowhere/secret", "/nowhere/secret cannot be read: No such file or directory"),
    ],
)
def test_mistakes_in_dpop(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    assert mistakes(monkeypatch, **DPOP | {name: value}) == (f"{name}: {sentence}.",)


def test_a_short_secret_in_a_file_is_a_mistake_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim")
    variables = {**DPOP, "API_DPOP_NONCE_SECRET_FILE": str(tmp_path / "secret")}
    assert mistakes(monkeypatch, **variables) == ("API_DPOP_NONCE_SECRET_FILE: has fewer than 32 bytes.",)


def test_two_secrets_are_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    variables = {"API_DPOP_NONCE_SECRET": SECRET, "API_DPOP_NONCE_SECRET_FILE": str(tmp_path / "secret")}
    (mistake,) = mistakes(monkeypatch, **DPOP, **variables)
    assert mistake == "API_DPOP_NONCE_SECRET_FILE: cannot be set together with API_DPOP_NONCE_SECRET."


def test_dpop_needs_the_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = mistakes(monkeypatch, API_DPOP="required")
    assert mistake == "API_DPOP: needs API_PUBLIC_URL: each proof names the address that it was made for."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_DPOP_ALGORITHMS", "ES256"),
        ("API_DPOP_WINDOW_SECONDS", "60"),
        ("API_DPOP_NONCE_SECRET", SECRET),
        ("API_DPOP_NONCE_SECRET_FILE", "/nowhere/secret"),
    ],
)
def test_settings_of_dpop_without_dpop_are_mistakes(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert mistakes(monkeypatch, **{name: value}) == (f"{name}: has no effect without API_DPOP.",)


# Mutual TLS


def test_proxies_can_hand_on_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    mtls = load(monkeypatch, API_MTLS="optional", API_MTLS_PROXIES="127.0.0.1, 10.0.0.0/8,unix").mtls
    assert mtls == MutualTLS(proxies=("127.0.0.1", "10.0.0.0/8", "unix"))
    mtls = load(monkeypatch, API_MTLS="required", API_MTLS_PROXIES="::1", API_MTLS_HEADER="X-Cert").mtls
    assert mtls == MutualTLS(proxies=("::1",), header="X-Cert", required=True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"API_MTLS": "on", "API_MTLS_PROXIES": "::1"}, ["API_MTLS: on is not one of optional, required."]),
        ({"API_MTLS": "optional"}, ["API_MTLS_PROXIES: is required."]),
        ({"API_MTLS_PROXIES": "::1"}, ["API_MTLS_PROXIES: has no effect without API_MTLS."]),
        (
            {"API_MTLS": "optional", "API_MTLS_PROXIES": "proxy,::1", "API_MTLS_HEADER": "X_Cert"},
            [
                "API_MTLS_PROXIES: 'proxy' is no IP address, no network such as 10.0.0.0/8, and not unix.",
                "API_MTLS_HEADER: must be the name of a header, of letters, digits and hyphens.",
            ],
        ),
    ],
)
def test_mistakes_in_mutual_tls_are_told(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: list[str]
) -> None:
    assert list(mistakes(monkeypatch, **variables)) == expected
