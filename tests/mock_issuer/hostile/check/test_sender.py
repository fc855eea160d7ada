"""An API that stops is waited for and counted; nothing is said of what was not sent."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.mock_issuer.hostile.servers import OK, answering, read_head

Check = Callable[..., tuple[int, str, str]]
REFUSED = b'HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
UNAVAILABLE = b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n"
CHOSEN = ("--only", "exp-*")


@contextmanager
def crashing(deaths: int) -> Iterator[str]:
    """Serve an API that accepts the first token that it sees, refuses others, and stops at the first `deaths` of them.

    Each time, it answers again after three more requests.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        over = threading.Event()
        good: list[bytes] = []
        state = {"deaths": deaths, "down": 0}

        def answer(received: bytes) -> bytes | None:
            token = next(line for line in received.split(b"\r\n") if line.startswith(b"Authorization"))
            good.append(token)
            if state["down"]:
                state["down"] -= 1
                return None
            if token == good[0]:
                return OK
            if state["deaths"]:
                state["deaths"], state["down"] = state["deaths"] - 1, 3
                return None
            return REFUSED

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if over.is_set():
                        return
                    reply = answer(read_head(connection))
                    if reply is not None:
                        connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def test_an_api_that_restarts_is_waited_for(check: Check) -> None:
    with crashing(deaths=2) as url:
        status, out, _ = check(url, *CHOSEN, "--json", "-")
    found = json.loads(out)
    assert (status, found["stops"], found["not_sent"], found["wrong"]["crashes"]) == (1, 2, 0, 2)
    # exp-fraction and exp-exponent must be accepted, and this API refuses all but one token.
    crashed = [row for row in found["requests"] if row["verdict"] == "crashes"]
    assert [row["received"] for row in crashed] == ["no answer, then stopped"] * 2
    assert crashed == found["requests"][:2]
    assert found["right"] + found["wrong"]["refuses"] + 2 == found["sent"] == len(found["requests"])


def test_stops_are_told(check: Check) -> None:
    with crashing(deaths=2) as url:
        _, out, _ = check(url, *CHOSEN)
    assert "The API stopped 2 times.\n" in out
    assert "2 x   no answer, then stopped\n" in out


@pytest.mark.parametrize("connections", [1, 4])
def test_the_check_ends_when_the_api_does_not_come_back(check: Check, connections: int) -> None:
    with answering(lambda _received: OK, connections=connections) as url:
        status, out, _ = check(url, *CHOSEN, "--wait", "0")
    lines = out.splitlines()
    sent = connections  # The first connection tries the valid token; the last request had no answer.
    assert any(line.startswith(f"{sent} sent, ") for line in lines)
    assert "The API stopped once." in lines
    assert any(line.endswith(" not sent: the API stopped and did not come back.") for line in lines)
    assert status == 1


def test_requests_that_were_not_sent_are_neither_right_nor_wrong(check: Check) -> None:
    with answering(lambda _received: OK, connections=2) as url:
        status, out, _ = check(url, *CHOSEN, "--wait", "0", "--fail-on", "none", "--json", "-")
    found = json.loads(out)
    verdicts = [row["verdict"] for row in found["requests"]]
    assert verdicts[:2] == ["accepts", "crashes"]
    assert set(verdicts[2:]) == {"not sent"}
    assert (found["sent"], found["right"], found["not_sent"]) == (2, 0, len(verdicts) - 2)
    assert not any("received" in row for row in found["requests"][2:])
    # Not everything was sent, so that the check has not passed.
    assert status == found["exit_status"] == 2


def test_a_proxy_whose_api_stopped_is_waited_for(check: Check) -> None:
    seen: list[bytes] = []

    def answer(received: bytes) -> bytes:
        seen.append(received)
        # The valid token, a request that stops the API, two requests during the restart.
        return UNAVAILABLE if 2 <= len(seen) <= 4 else OK

    with answering(answer) as url:
        _, out, _ = check(url, "--only", "exp-zero", "--only", "exp-negative", "--json", "-")
    found = json.loads(out)
    assert [row["received"] for row in found["requests"]] == ["502", "200"]
    assert (found["stops"], found["not_sent"]) == (1, 0)


def test_a_server_error_alone_is_no_stop(check: Check) -> None:
    seen: list[bytes] = []

    def answer(received: bytes) -> bytes:
        seen.append(received)
        return UNAVAILABLE if len(seen) == 2 else OK

    with answering(answer) as url:
        _, out, _ = check(url, "--only", "exp-zero", "--json", "-")
    found = json.loads(out)
    assert (found["stops"], found["wrong"]["crashes"]) == (0, 1)
