"""Settings loaded from the variables of a test."""

import pytest

from api.settings import Settings, SettingsError, load_settings

REQUIRED = {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "https://device-api.example"}


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Return the settings of these variables and those that are required."""
    for name, value in (REQUIRED | variables).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def mistakes(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    """Return the mistakes in these variables; those that are required are valid unless they are among them."""
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **variables)
    return caught.value.mistakes
