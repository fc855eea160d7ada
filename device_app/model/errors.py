"""The errors of the device app. Each has a message for people, and a `state` and an exit status for scripts."""

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
    """The command failed, and repeating it will not help."""

    exit_status: ClassVar[int] = 1
    state: ClassVar[str] = "failed"


class AccessDeniedError(DeviceAppError):
    """The user denied the device access (`access_denied`, RFC 8628 §3.5)."""

    state: ClassVar[str] = "denied"


class CodeExpiredError(DeviceAppError):
    """The device code expired before the user approved it (`expired_token`, RFC 8628 §3.5)."""

    state: ClassVar[str] = "expired"


class NotRevokedError(DeviceAppError):
    """The login was deleted on this machine, but may still be valid at the issuer."""


class LoginNeededError(DeviceAppError):
    """There is no login, it has ended, or it is too old, too weak or lacks a scope."""

    exit_status: ClassVar[int] = 3
    state: ClassVar[str] = "login_needed"


class AuthenticationNeededError(LoginNeededError):
    """The API requires a newer or stronger login (RFC 9470 §3); `requirements` says which."""

    def __init__(self, message: str, requirements: AuthenticationRequirements) -> None:
        super().__init__(message)
        self.requirements = requirements


class UnavailableError(DeviceAppError):
    """A server or the keyring cannot be used now; the same command may work later."""

    exit_status: ClassVar[int] = 4
    state: ClassVar[str] = "unavailable"
