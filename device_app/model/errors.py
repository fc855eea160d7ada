"""What can go wrong in the world.

Each error is one plain sentence for a person, and a word and an exit status for a script.
"""

from typing import ClassVar

from device_app.model.step_up import AuthenticationRequirements

__all__ = [
    "AccessDeniedError",
    "AuthenticationNeededError",
    "CodeExpiredError",
    "DeviceAppError",
    "LoginNeededError",
    "NotRevokedError",
    "UnavailableError",
]


class DeviceAppError(Exception):
    """The command could not do what was asked, and asking again will not help."""

    exit_status: ClassVar[int] = 1
    state: ClassVar[str] = "failed"


class AccessDeniedError(DeviceAppError):
    """The person refused the device (RFC 8628 §3.5, `access_denied`)."""

    state: ClassVar[str] = "denied"


class CodeExpiredError(DeviceAppError):
    """Nobody approved the device in time (RFC 8628 §3.5, `expired_token`)."""

    state: ClassVar[str] = "expired"


class NotRevokedError(DeviceAppError):
    """The login was forgotten on this machine and may live on at the issuer."""


class LoginNeededError(DeviceAppError):
    """There is no login, it has ended, or it is too old, too weak or too narrow for the request."""

    exit_status: ClassVar[int] = 3
    state: ClassVar[str] = "login_needed"


class AuthenticationNeededError(LoginNeededError):
    """The API wants the person to log in anew (RFC 9470): `requirements` says how."""

    def __init__(self, sentence: str, requirements: AuthenticationRequirements) -> None:
        super().__init__(sentence)
        self.requirements = requirements


class UnavailableError(DeviceAppError):
    """The other side cannot be reached or is overloaded: the same command may work later."""

    exit_status: ClassVar[int] = 4
    state: ClassVar[str] = "unavailable"
