"""The three reports, and the shell commands in them."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from flask import Flask, request

from mock_issuer.flow.keys import SigningKeys
from mock_issuer.hostile.check import main
from mock_issuer.hostile.check.sender import raw_request
from mock_issuer.hostile.check.shell_command import shell_command
from mock_issuer.hostile.request import HostileRequest, from_json, to_json
from mock_issuer.hostile.table import hostile_requests
from tests.kit.key_server import KeyServer, document
from tests.mock_issuer.hostile.servers import OK, SCOPE, WrongApi, answering, serving

Check = Callable[..., tuple[int, str, str]]
CHOSEN = ("--only", "exp-*", "--only", "nbf-*", "--only", "good-token")


@pytest.fixture(scope="module", autouse=True)
def _fresh_table(key_server: KeyServer, publish_table: Callable[..., None]) -> None:
    """Publish a table of now: after five minutes, `wrong` refuses the token that ended 40 minutes before its table."""
    publish_table(key_server, SCOPE)


@pytest.fixture
def wrong(issuer: KeyServer) -> WrongApi:
    """Accepts tokens 40 minutes after their end, and sends no error codes."""
    return WrongApi(issuer=issuer, leeway_seconds=2_700, has_error_codes=False)


def test_equal_mistakes_are_one_entry(wrong: WrongApi, check: Check) -> None:
    with serving(wrong.app()) as url:
        _, out, _ = check(url, "--only", "exp-40-minutes-ago", "--only", "iss-*", "--only", "alg-none*")
    assert (
        "accepts what it must not (accepts): 1\n"
        "\n"
        "1 x   200; expected 401 invalid_token\n"
        "      MUST: A token is not accepted on or after exp, RFC 7519 §4.1.4 and\n"
        "      RFC 9068 §4.\n"
        "      exp-40-minutes-ago\n"
        "\n"
    ) in out
    # The iss rows and the alg rows have other reasons, but the same mistake in the answer.
    assert out.count("401 without error; expected 401 invalid_token") == 1
    assert "      SHOULD: RFC 6750 §3.1 recommends" in out
    assert " more\n" in out
    assert "answers unlike the RFC (differs): 25\n" in out
    assert out.splitlines()[-3] == "26 sent, 0 right, 26 wrong: 1 accepts, 25 differs"


def test_requests_with_other_acceptable_answers_are_in_the_same_entry(wrong: WrongApi, check: Check) -> None:
    with serving(wrong.app()) as url:
        _, out, _ = check(url, "--only", "alg-none", "--only", "crit-*", "--only", "long-token-expired")
    assert out.count("401 without error; expected 401 invalid_token\n") == out.count(" x ") == 1


def test_server_errors_are_one_entry(check: Check) -> None:
    def answer(received: bytes) -> bytes:
        return OK if received.count(b"Authorization: Bearer ey") else b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"

    with answering(answer) as url:
        _, out, _ = check(url, "--only", "no-credentials", "--only", "bearer-alone", "--only", "one-character")
    assert "3 x   500\n" in out


def test_the_most_severe_come_first(issuer: KeyServer, check: Check) -> None:
    def answer(received: bytes) -> bytes | None:
        rows = {b"Digest": b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", b"bearer": b"HTTP/1.1 403 x\r\n\r\n"}
        return next((reply for word, reply in rows.items() if b"Authorization: " + word in received), OK)

    with answering(answer) as url:
        _, out, _ = check(url, "--only", "d*", "--only", "scheme-*", "--only", "no-credentials", "--only", "two-*")
    headings = [line.partition(" (")[0] for line in out.splitlines() if re.search(r"\([a-z]+\): \d+$", line)]
    assert headings == [
        "accepts what it must not",
        "crashes or answers 5xx",
        "refuses what is good",
        "answers unlike the RFC",
    ]


def test_json_has_every_request(wrong: WrongApi, check: Check, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with serving(wrong.app()) as url:
        status, out, _ = check(url, *CHOSEN, "--json", str(file))
    assert " sent, " in out
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["url"] == url
    assert found["exit_status"] == status == 1
    assert found["fail_on"] == ["accepts", "crashes", "refuses"]
    assert found["sent"] == len(found["requests"]) == found["right"] + sum(found["wrong"].values())
    rows = {row["name"]: row for row in found["requests"]}
    assert rows["good-token"].keys() == {"name", "verdict", "expected", "level", "section", "why", "command"}
    assert rows["good-token"]["verdict"] == "right"
    late = rows["exp-40-minutes-ago"]
    assert late.pop("command").startswith("curl -sig ")
    assert late == {
        "name": "exp-40-minutes-ago",
        "verdict": "accepts",
        "expected": "401 invalid_token",
        "received": "200",
        "level": "MUST",
        "section": "RFC 7519 §4.1.4",
        "why": "A token is not accepted on or after exp, RFC 7519 §4.1.4 and RFC 9068 §4.",
    }


def test_json_on_stdout_is_all_of_stdout(wrong: WrongApi, check: Check) -> None:
    with serving(wrong.app()) as url:
        _, out, err = check(url, *CHOSEN, "--json", "-")
    assert json.loads(out)["sent"] > 10
    assert err == ""


def test_junit_has_a_test_case_for_each_request(wrong: WrongApi, check: Check, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    with serving(wrong.app()) as url:
        _, out, _ = check(url, *CHOSEN, "--junit", str(file), "--json", "-")
    expected = json.loads(out)
    suites = ET.parse(file).getroot()
    (suite,) = suites
    cases = {case.attrib["name"]: case for case in suite}
    assert (suites.tag, suite.tag) == ("testsuites", "testsuite")
    assert list(cases) == [row["name"] for row in expected["requests"]]
    failures = sum(expected["wrong"][severity] for severity in expected["fail_on"])
    assert 0 < failures == len(suite.findall("testcase/failure"))
    counts = [suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")]
    assert counts == [str(len(cases)), str(failures), "0", "0"]
    assert all(float(case.attrib["time"]) >= 0 for case in suite)
    failure = cases["exp-40-minutes-ago"].find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "200; expected 401 invalid_token", "type": "accepts"}
    assert "RFC 7519 §4.1.4" in (failure.text or "")
    assert "curl -sig " in (failure.text or "")
    # This severity is not in --fail-on: the test case passes, and its output tells the mistake.
    differs = cases["exp-zero"]
    assert differs.find("failure") is None
    assert "401 without error" in (differs.findtext("system-out") or "")
    assert len(cases["good-token"]) == 0


def test_junit_skips_what_was_not_sent(check: Check) -> None:
    with answering(lambda _received: OK, connections=2) as url:
        _, out, _ = check(url, "--only", "exp-*", "--wait", "0", "--junit", "-")
    (suite,) = ET.fromstring(out.encode())
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds == [["failure"], ["failure"], *[["skipped"]] * (len(kinds) - 2)]
    assert suite.attrib["skipped"] == str(len(kinds) - 2)


def test_curl_prints_a_command_that_repeats_the_request(wrong: WrongApi, check: Check) -> None:
    with serving(wrong.app()) as url:
        _, out, _ = check(url, "--only", "exp-40-minutes-ago", "--curl")
        (command,) = [line for line in out.splitlines() if line.startswith("curl ")]
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.startswith("HTTP/1.1 200 ")


def table(issuer: KeyServer) -> list[HostileRequest]:
    import requests

    answer = requests.get(f"{issuer.origin}/_mock/hostile", params={"scope": "read:devices"}, timeout=10)
    return [from_json(row) for row in answer.json()["requests"]]


def test_commands_send_the_same_fields(issuer: KeyServer) -> None:
    received: list[bytes] = []

    def answer(raw: bytes) -> bytes:
        received.append(raw)
        return OK

    names = {
        "good-token", "no-credentials", "empty-authorization", "two-headers-equal", "digest", "quoted-token",
        "latin-1-in-token", "nbsp-for-space", "escaped-newline", "json-serialization", "field-name-upper-case",
        "control-character-in-token", "percent-encoded-newline", "bearer-and-spaces", "token-in-header-and-query",
        "token-in-query", "tab-for-space",
    }  # fmt: skip
    chosen = [row for row in table(issuer) if row.name in names]
    assert len(chosen) == len(names)
    with answering(answer) as address:
        url = urlsplit(f"{address}a?b=c'd")
        for row in chosen:
            command = shell_command(url, row)
            subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=20)
            others = (b"User-Agent:", b"Accept:", b"Connection:")
            fields = [line for line in received[-1].split(b"\r\n") if not line.startswith(others)]
            expected = raw_request(url, row.headers, row.query).split(b"\r\n")
            expected = [line for line in expected if not line.startswith(others)]
            # Only white space after the colon of an empty field differs.
            assert sorted(map(bytes.rstrip, fields)) == sorted(map(bytes.rstrip, expected)), row.name


def test_bytes_that_curl_refuses_are_sent_by_bash(issuer: KeyServer) -> None:
    received: list[bytes] = []

    def answer(raw: bytes) -> bytes:
        received.append(raw)
        return OK

    names = {"nul-in-token", "folded-line", "white-space-around-value"}
    chosen = [row for row in table(issuer) if row.name in names]
    assert len(chosen) == len(names)
    with answering(answer) as address:
        for row in chosen:
            command = shell_command(urlsplit(f"{address}a?b=%20c'd"), row)
            assert command.isascii()
            done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=20)
            assert received[-1] == raw_request(urlsplit(f"{address}a?b=%20c'd"), row.headers, row.query)
            assert done.stdout == OK
    over_tls = shell_command(urlsplit("https://[::1]/"), chosen[0])
    assert over_tls.startswith("printf 'GET / HTTP/1.1\\015\\012Host: [::1]")
    assert over_tls.endswith(" | openssl s_client -quiet -connect '[::1]:443'")


def test_the_api_elsewhere_may_not_reach_the_attackers_servers(
    issuer: KeyServer, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    resolve = socket.getaddrinfo

    def local(host: str, *arguments: object, **options: object) -> object:
        return resolve("127.0.0.1" if host == "api.example" else host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local)
    app = Flask("open")
    app.add_url_rule("/", view_func=lambda: request.path)
    with serving(app) as url:
        elsewhere = url.replace("127.0.0.1", "api.example")
        assert "cannot reach them" in check(elsewhere, "--only", "attackers-jku-served")[2].replace("\n", " ")
        assert check(elsewhere, "--only", "exp-zero", "--only", "attackers-jwk")[2] == ""
        assert check(url, "--only", "attackers-jku-served")[2] == ""


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_without_a_fetch_a_proxy_of_this_machine_is_named(
    check: Check, monkeypatch: pytest.MonkeyPatch, without_proxies: None
) -> None:
    app = Flask("open")
    app.add_url_rule("/", view_func=lambda: request.path)
    with serving(app) as url:
        assert check(url, "--only", "attackers-jku-served")[2] == ""
        monkeypatch.setenv("HTTP_PROXY", "http://user:pass@proxy.example:3128")
        shown = check(url, "--only", "attackers-jku-served")[2]
        assert "HTTP_PROXY" in shown
        assert "No fetch" in shown.replace("\n", " ")
        assert "pass" not in shown
        assert check(url, "--only", "exp-zero")[2] == ""
        # Fetches from 127.0.0.1 go around the proxy.
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert check(url, "--only", "attackers-jku-served")[2] == ""


def test_without_a_fetch_an_issuer_that_is_not_on_loopback_is_named(
    keys: SigningKeys, capsys: pytest.CaptureFixture[str], without_proxies: None
) -> None:
    app = Flask("open")
    app.add_url_rule("/", view_func=lambda: request.path)
    with KeyServer() as server, serving(app) as url:
        rows = hostile_requests(keys, issuer="http://issuer.test:9000/", audience="a", scope="", now=int(time.time()))
        table = json.dumps({"requests": [to_json(row) for row in rows]}).encode()
        server.answers["/_mock/hostile?scope="] = document(table)
        main([url, "--issuer", server.issuer, "--only", "attackers-jku-served"])
        shown = " ".join(capsys.readouterr().err.split())
    assert "No fetch" in shown
    assert "issuer.test is not a loopback address" in shown
