"""The connections of gunicorn's gthread: no client that sends or closes nothing holds a thread or the main loop."""

import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker  # type: ignore[import-untyped]  # has no types

# After the last response: how long the client may take to close, and how much of what it still sends is read.
CLOSING_SECONDS = 2.0
_MAX_DRAINED_BYTES = 64 * 1024


class ConnectionWorker(ThreadWorker):  # type: ignore[misc]  # likewise
    """gthread, but clients that send or close nothing delay nobody else.

    In gunicorn, a thread waits 5 s for the first bytes of a connection: as many silent ones as there are threads stop
    a worker. And the main loop waits 2 s for a client to close, one client after another.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the order of their timeouts.
        self._closing: deque[Any] = deque()

    def accept(self, listener: Any) -> None:
        """Accept a connection; if only as many more may be open as there are threads, close the longest idle one.

        A worker with as many idle connections as it may have would answer nobody, probes neither, for a minute.
        """
        if self.nr_conns >= self.max_keepalived:
            idle = self.pending_conns or self.keepalived_conns
            if idle:
                conn = idle.popleft()
                self.poller.unregister(conn.sock)
                self._close(conn)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Have a thread handle the next request of a connection; that of a new one when its first bytes are there."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.settimeout(0)
        conn.set_timeout()
        if not self.alive:
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
        try:
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
        except OSError:  # the system's limit of watched descriptors
            self._close(conn)
        else:
            self.pending_conns.append(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep a connection, or close it after its last response."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        conn.drained_bytes = 0
        try:
            # The client learns of the close at once. To close with unread bytes would reset the connection, and the
            # client could lose the end of the response (RFC 9112 §9.6).
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
            if not self._drain(conn):  # most clients have closed by now
                self.poller.register(conn.sock, EVENT_READ, partial(self._on_closing_socket_readable, conn))
                conn.timeout = time.monotonic() + CLOSING_SECONDS
                self._closing.append(conn)
                return
        except OSError:  # the client has reset it, or the system's limit of watched descriptors
            pass
        self._close(conn)

    def _on_closing_socket_readable(self, conn: Any, _socket: Any) -> None:
        if self._drain(conn):
            self._closing.remove(conn)
            self.poller.unregister(conn.sock)
            self._close(conn)

    def _drain(self, conn: Any) -> bool:
        """Read and forget what the client sends; return whether it has closed, or sends too much."""
        try:
            received = conn.sock.recv(_MAX_DRAINED_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True
        conn.drained_bytes += len(received)
        return not received or conn.drained_bytes >= _MAX_DRAINED_BYTES

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close connections whose client has sent, or closed, nothing in time."""
        super().murder_pending()
        now = time.monotonic()
        while self._closing and self._closing[0].timeout <= now:
            conn = self._closing.popleft()
            self.poller.unregister(conn.sock)
            self._close(conn)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # gunicorn's signature
        """Start or stop accepting connections; if the worker stops, accept those that wait, and close the socket.

        gunicorn closes it when the last request is finished. Until then, the kernel would take connections that
        nobody answers.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            if listener.sock is None:  # closed by an earlier call
                continue
            accepted = -1
            # Without file descriptors left, the others are lost.
            with suppress(OSError):
                while accepted != self.nr_conns:
                    accepted = self.nr_conns
                    self.accept(listener)
            listener.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections without a request by `deadline`, too, when the worker stops: gunicorn waits for them."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
