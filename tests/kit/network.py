"""A TCP proxy between a client and a server on this machine, to simulate a lost network."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65536


class Proxy:
    """Forwards connections to `url` to `target_port` of this machine; a context manager."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.target_port = 0
        self._is_disconnected = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing alone does not wake a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self.disconnect()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def disconnect(self) -> None:
        """Close all connections, and accept no new ones."""
        with self._lock:
            self._is_disconnected = True
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def reconnect(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._is_disconnected = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._forward, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket) -> None:
        with client:
            with self._lock:
                if self._is_disconnected:
                    return
                server = socket.create_connection(("127.0.0.1", self.target_port))
                self._open |= {client, server}
            with server, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while self._forward_data(selector):
                    pass
            with self._lock:
                self._open -= {client, server}

    def _forward_data(self, selector: selectors.BaseSelector) -> bool:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(CHUNK_BYTES)
            if not data:
                return False
            key.data.sendall(data)
        return True
