"""Settings from the environment. No other room of api/ reads API_ variables. Start with `settings`."""

from api.settings.errors import SettingsError
from api.settings.proofs import DPoPSettings
from api.settings.server import ServerSettings, read_server_settings, usable_cpus
from api.settings.settings import DEFAULT_DATABASE_URL, LOG_LEVELS, Settings, load_all_settings, load_settings

__all__ = [
    "DEFAULT_DATABASE_URL",
    "LOG_LEVELS",
    "DPoPSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "load_all_settings",
    "load_settings",
    "read_server_settings",
    "usable_cpus",
]
