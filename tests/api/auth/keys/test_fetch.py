import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from api.auth.keys.fetch import MAX_BYTES, FetchError, Form, fetch, post
from tests.kit.key_server import KeyServer, document, raw_answer


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        yield server


def refusal(url: str, seconds: float = 3) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(url, seconds)
    return str(caught.value)


def test_returns_the_body(server: KeyServer) -> None:
    server.break_keys(document(b'{"keys":[]}'))
    fetched = fetch(server.jwks_url, 3)
    assert fetched.body == b'{"keys":[]}'
    assert fetched.max_age_seconds is None


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("max-age=90", 90),
        ("public, max-age=15, must-revalidate", 15),
        ("Max-Age = 7", 7),
        ('max-age="20"', 20),
        ("s-maxage=5", None),
        ("max-age=-1", None),
        ("max-age=abc", None),
        ("no-store", 0),
        ("no-cache, max-age=100", 0),
        ("", None),
    ],
)
def test_reads_how_long_an_answer_is_fresh(server: KeyServer, cache_control: str, seconds: int | None) -> None:
    server.break_keys(document(b"{}", headers={"Cache-Control": cache_control}))
    assert fetch(server.jwks_url, 3).max_age_seconds == seconds


def test_sends_a_form(server: KeyServer) -> None:
    sent: list[Any] = []

    def answer(handler: Any) -> None:
        sent.append((handler.command, handler.form, handler.headers["Authorization"], handler.headers["Content-Type"]))
        document(b'{"active":false}')(handler)

    server.answers["/introspect?a=b"] = answer
    form = Form(b"token=x%2By", "Basic YTpi")
    assert post(f"{server.origin}/introspect?a=b", form, 3).body == b'{"active":false}'
    assert sent == [("POST", b"token=x%2By", "Basic YTpi", "application/x-www-form-urlencoded")]
    assert "YTpi" not in repr(form)
    assert "token" not in repr(form)


def test_a_form_follows_no_redirect_and_is_not_sent_again(server: KeyServer) -> None:
    server.answers["/elsewhere"] = document(b"{}")
    server.answers["/"] = document(b"", status=307, headers={"Location": "/elsewhere"})
    with pytest.raises(FetchError) as caught:
        post(server.issuer, Form(b"token=x", "Basic YTpi"), 3)
    assert (str(caught.value), caught.value.status) == ("the status is not 200", 307)
    assert server.requests == {"/": 1}


def test_a_form_is_sent_to_no_insecure_address() -> None:
    with pytest.raises(FetchError, match="not https") as caught:
        post("http://issuer.example/introspect", Form(b"token=x", "Basic YTpi"), 3)
    assert caught.value.status is None


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503])
def test_takes_nothing_but_status_200(server: KeyServer, status: int) -> None:
    server.answers["/elsewhere"] = document(b"{}")
    server.break_keys(document(b"", status=status, headers={"Location": "/elsewhere"}))
    assert refusal(server.jwks_url) == "the status is not 200"
    assert server.requests["/elsewhere"] == 0


def test_bounds_the_size(server: KeyServer) -> None:
    server.break_keys(document(b" " * 262_144))
    assert len(fetch(server.jwks_url, 3).body) == 262_144 == MAX_BYTES
    server.break_keys(document(b" " * 262_145))
    assert refusal(server.jwks_url) == "longer than 256 KiB"
    server.break_keys(document(b" " * (5 * 1024 * 1024)))
    assert refusal(server.jwks_url) == "longer than 256 KiB"


def test_bounds_an_endless_body(server: KeyServer) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.released.is_set():
            handler.wfile.write(b" " * 65_536)

    server.break_keys(endless)
    assert refusal(server.jwks_url) == "longer than 256 KiB"


@pytest.mark.parametrize("part", ["status line", "headers", "body"])
def test_ends_in_time_however_slowly_the_answer_drips(server: KeyServer, part: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        sent = {"status line": b"", "headers": b"HTTP/1.1 200 OK\r\n", "body": b"HTTP/1.1 200 OK\r\n\r\n"}[part]
        handler.wfile.write(sent)
        while not server.released.wait(0.05):
            handler.wfile.write(b"X")

    server.break_keys(drip)
    assert refusal(server.jwks_url, 0.4) == "timed out"


def test_ends_in_time_where_nothing_is_answered(server: KeyServer) -> None:
    server.hang_keys()
    assert refusal(server.jwks_url, 0.2) == "timed out"


def test_ends_in_time_where_no_address_of_the_host_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.fetch.CONNECT_SECONDS", 0.2)
    with contextlib.ExitStack() as opened:
        # Linux answers nobody whose connection finds the backlog full.
        silent = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = opened.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(silent.getsockname())
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", silent.getsockname())] * 20
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: addresses)
        started = time.monotonic()
        assert refusal("https://issuer.test/jwks.json", 0.5) == "timed out"
    assert time.monotonic() - started < 2


def test_tries_the_next_address_of_the_host(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish(b'{"keys":[]}')
    host, port = "127.0.0.1", int(server.origin.rpartition(":")[2])
    with socket.create_server((host, 0)) as listener:
        closed = listener.getsockname()
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in (closed, (host, port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: addresses)
    assert fetch(f"http://localhost:{port}/jwks.json", 3).body == b'{"keys":[]}'


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1/", ("127.0.0.1", 80)),
        ("https://127.0.0.1/", ("127.0.0.1", 443)),
        ("http://[::1]:8000/", ("::1", 8000)),
    ],
)
def test_connects_within_a_second(monkeypatch: pytest.MonkeyPatch, url: str, address: tuple[str, int]) -> None:
    asked: list[tuple[str, int]] = []
    limits: list[float | None] = []

    def look_up(host: str, port: int, **_kwargs: Any) -> list[Any]:
        asked.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 9))]

    class Refused(socket.socket):
        def connect(self, address: Any) -> None:
            limits.append(self.gettimeout())
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", Refused)
    assert refusal(url, 3) == "no answer"
    assert refusal(url, 0.5) == "no answer"
    assert asked == [address, address]
    assert limits[0] == 1
    assert limits[1] is not None
    assert 0.3 < limits[1] <= 0.5


def test_an_answer_may_take_longer_than_a_connection(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.fetch.CONNECT_SECONDS", 0.2)

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        server.released.wait(0.4)
        document(b"{}")(handler)

    server.break_keys(answer_late)
    assert fetch(server.jwks_url, 3).body == b"{}"


def test_a_host_name_that_cannot_be_encoded_gives_no_answer() -> None:
    assert refusal(f"https://{'a' * 64}.example/") == "no answer"


def test_sends_path_query_and_host(server: KeyServer) -> None:
    hosts = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        hosts.append(handler.headers["Host"])
        document(b"{}")(handler)

    server.answers |= {"/": answer, "/?tenant=a": answer, "/keys?tenant=a&b=": answer}
    for end in ("", "?tenant=a", "/keys?tenant=a&b="):
        assert fetch(f"{server.origin}{end}", 3).body == b"{}"
    assert hosts == [server.origin.removeprefix("http://")] * 3


def test_without_any_time_left_it_does_not_connect(server: KeyServer) -> None:
    server.break_keys(document(b"{}"))
    assert refusal(server.jwks_url, 0) == "timed out"
    assert server.key_requests == 0


def test_its_timer_does_not_keep_the_process_from_its_end(server: KeyServer) -> None:
    asked = server.hang_keys()
    fetching = threading.Thread(target=refusal, args=(server.jwks_url,))
    fetching.start()
    assert asked.wait(10)
    timers = [thread.daemon for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    server.released.set()
    fetching.join()
    assert timers == [True]


def test_tells_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}/jwks.json") == "no answer"


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", b"\x00" * 70_000]
)
def test_tells_an_answer_that_is_no_http(server: KeyServer, raw: bytes) -> None:
    server.break_keys(raw_answer(raw))
    assert refusal(server.jwks_url) in {"no answer", "the status is not 200", "cut off"}


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/jwks.json",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks.json",
        "https://user:secret@issuer.example/jwks.json",
        "http://127.0.0.1:port/",
        "https://",
        "jwks.json",
        "https://issuer.example/jwks.json#fragment",
        "https://issuer.example/a b",
        "https://issuer.example/\r\nX: y",
        "https://issuer.exämple/",
        "http://[::1",
    ],
)
def test_refuses_addresses_that_are_not_to_be_fetched(url: str) -> None:
    assert refusal(url) == "the address is not https (http on loopback only)"


def test_refuses_a_certificate_that_nobody_vouches_for() -> None:
    """A server that speaks TLS with a certificate of its own making is not an issuer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            connection, _ = listener.accept()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with connection, contextlib.suppress(OSError):  # ssl.SSLError is one
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=shake_hands)
        thread.start()
        assert refusal(f"https://127.0.0.1:{listener.getsockname()[1]}/jwks.json") == "TLS failed"
        thread.join()


def test_bounds_a_tls_handshake_that_never_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert refusal(f"https://127.0.0.1:{listener.getsockname()[1]}/jwks.json", 0.2) == "timed out"
