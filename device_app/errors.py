"""What can go wrong in the world. Each error is one plain sentence for a person and carries its exit status."""

from typing import ClassVar

__all__ = [
    "AccessDeniedError",
    "CodeExpiredError",
    "DeviceAppError",
    "LoginNeededError",
    "NotRevokedError",
    "UnavailableError",
]


class DeviceAppError(Exception):
    """The command could not do what was asked, and asking again will not help."""

    exit_status: ClassVar[int] = 1


class AccessDeniedError(DeviceAppError):
    """The person refused the device (RFC 8628 §3.5, `access_denied`)."""


class CodeExpiredError(DeviceAppError):
    """Nobody approved the device in time (RFC 8628 §3.5, `expired_token`)."""


class NotRevokedError(DeviceAppError):
    """The login was forgotten on this machine and may live on at the issuer."""


class LoginNeededError(DeviceAppError):
    """There is no login, it has ended, or it is too old, too weak or too narrow for the request."""

    exit_status: ClassVar[int] = 3


class UnavailableError(DeviceAppError):
    """The other side cannot be reached or is overloaded: the same command may work later."""

    exit_status: ClassVar[int] = 4
