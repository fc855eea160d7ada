"""A region: memory that one process writes and every process reads."""

import struct
from collections.abc import Iterator
from typing import Final

# About 1,300 label sets of api_request_seconds, the largest metric; the API has fewer than 400. A page takes no memory
# until something is written there.
REGION_BYTES: Final = 256 * 1024

_NUMBER_BYTES: Final = 8
# The header: how many bytes are used, the process that writes, and how often regions were merged (see Memory).
_USED, _PID, _MERGES = 0, 1, 2
_HEADER_BYTES: Final = 4 * _NUMBER_BYTES
# An entry: the length of its key, how many values it has, the key padded to 8 bytes, the values.
_ENTRY = struct.Struct("=II")


class Region:
    """Entries, each a key and its values (64-bit floats); entries are only added, or all removed at once.

    Only one process may write, one thread at a time. A reader in another process sees complete entries only: the used
    length is written after the entry.
    """

    def __init__(self, memory: memoryview) -> None:
        """Use `memory`, of a multiple of 8 bytes and zeros at first; keep what another process has written there."""
        self._bytes = memory
        self._header = memory[:_HEADER_BYTES].cast("Q")
        self._values = memory.cast("d")

    @property
    def pid(self) -> int:
        """The process that writes here; 0 if the region is free."""
        return self._header[_PID]

    @pid.setter
    def pid(self, pid: int) -> None:
        self._header[_PID] = pid

    @property
    def merges(self) -> int:
        """A number that is odd while regions are being merged, and is never the same again afterwards."""
        return self._header[_MERGES]

    @merges.setter
    def merges(self, merges: int) -> None:
        self._header[_MERGES] = merges

    def add(self, key: bytes, size: int) -> "memoryview[float] | None":
        """Add an entry of `size` values, all 0, and return these values for writing; None if the region is full."""
        start = _HEADER_BYTES + self._header[_USED]
        first = start + _ENTRY.size + -(-len(key) // _NUMBER_BYTES) * _NUMBER_BYTES
        end = first + size * _NUMBER_BYTES
        if end > len(self._bytes):
            return None
        _ENTRY.pack_into(self._bytes, start, len(key), size)
        self._bytes[start + _ENTRY.size : start + _ENTRY.size + len(key)] = key
        # The region may have had another writer.
        self._bytes[first:end] = bytes(end - first)
        self._header[_USED] = end - _HEADER_BYTES
        return self._values[first // _NUMBER_BYTES : end // _NUMBER_BYTES]

    def entries(self) -> Iterator[tuple[bytes, "memoryview[float]"]]:
        """Yield the key and the values of each entry."""
        start = _HEADER_BYTES
        end = start + self._header[_USED]
        while start < end:
            length, size = _ENTRY.unpack_from(self._bytes, start)
            key = bytes(self._bytes[start + _ENTRY.size : start + _ENTRY.size + length])
            start += _ENTRY.size + -(-length // _NUMBER_BYTES) * _NUMBER_BYTES
            first = start // _NUMBER_BYTES
            yield key, self._values[first : first + size]
            start += size * _NUMBER_BYTES

    def clear(self) -> None:
        """Remove all entries, and free the region."""
        self._header[_USED] = 0
        self._header[_PID] = 0
