"""What the routes ask of a store of devices; sql_store.py is the one that there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from .cursors import Position
from .models import Device, NewDevice, Owner, Reading, Whose


class VersionMismatch(Exception):
    """The device is there, but in none of the versions that the change was meant for."""


class KeyReused(Exception):
    """An idempotency key came again with another body."""


@dataclass(frozen=True, slots=True)
class Once:
    """How a request that may be sent again is known: its key, and a digest of what it asks for."""

    key: str
    fingerprint: bytes


class DeviceStore(Protocol):
    """The devices and readings of all owners. Every method takes whose devices it is about; others are not there.

    All methods may raise SQLAlchemy's DBAPIError, most often since the database cannot be used. What a method
    changed when it returns is kept; when it raises, nothing was changed.
    """

    def close(self) -> None:
        """Close the connections of this process."""

    def cursor_key(self) -> bytes:
        """Return the secret of this database that cursors are made with."""

    def list_devices(
        self,
        whose: Whose,
        *,
        kind: str | None = None,
        status: str | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Device]:
        """Return devices from `after` on, the oldest first."""

    def get_device(self, whose: Whose, device_id: str) -> Device | None:
        """Return a device; None where there is none such."""

    def create_device(self, owner: Owner, new: NewDevice, once: Once | None = None) -> Device:
        """Return the device that was made; the one made before, as it was, where `once` is known.

        Raises KeyReused where its key is known for something else. A key is forgotten after a day.
        """

    def change_device(
        self,
        owner: Owner,
        device_id: str,
        changes: Mapping[str, str | None],
        *,
        if_versions: frozenset[int] | None = None,
    ) -> Device | None:
        """Change what `changes` names, and return the device; None where there is none such.

        Raises VersionMismatch where its version is none of `if_versions`; None stands for any.
        """

    def delete_device(self, owner: Owner, device_id: str, *, if_versions: frozenset[int] | None = None) -> bool:
        """Delete a device with its readings; say whether there was one. Raises as `change_device` does."""

    def list_readings(
        self,
        device: Device,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Reading]:
        """Return a device's readings from `start` on and before `end`, the newest first, those after `after`."""

    def add_readings(self, owner: Owner, device_id: str, readings: Sequence[Reading]) -> int | None:
        """Add all that are not there yet, and return how many; None where there is no such device.

        A reading is there if one of its time and metric is; that one stays. The device was seen now.
        """
