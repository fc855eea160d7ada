"""Stop a listening socket without losing a connection that it has accepted."""

import socket
import struct
from array import array
from contextlib import suppress

# <asm-generic/socket.h>; the module socket does not have it.
_SO_ATTACH_FILTER = 26
# A classic BPF program, which the kernel applies to each segment that arrives for the socket, from the TCP header on.
_DROP_SYN = struct.pack(
    "HBBIHBBIHBBIHBBI",
    *(0x30, 0, 0, 13),  # load byte 13: the flags
    *(0x45, 0, 1, 0x02),  # without SYN, skip an instruction
    *(0x06, 0, 0, 0),  # drop the segment
    *(0x06, 0, 0, 0xFFFFFFFF),  # keep it whole
)
_INSTRUCTION_BYTES = 8


def take_no_new_connections(listener: socket.socket) -> None:
    """Let a listening TCP socket, and its copies in all processes, ignore new connections until they close it.

    Closing alone is not enough: the kernel resets what it accepted since the last `accept`. A client whose first
    segment (SYN) is ignored sends it again after a second, and then it is refused. Does nothing where the system has
    no such filter.
    """
    program = array("B", _DROP_SYN)
    address, length = program.buffer_info()
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", length // _INSTRUCTION_BYTES, address)
        )
