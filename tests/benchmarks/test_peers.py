"""What `make peers` needs is pinned, and the page says what the results say. The stacks themselves are for it alone."""

import base64
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import crashes
from benchmarks.peers.environment import CannotRun
from benchmarks.peers.page import bearer_part, dpop_part, split_page
from benchmarks.peers.stacks import FOLDER, STACKS, Stack
from mock_issuer import Config, Server
from mock_issuer.hostile.request import HostileRequest
from tests.kit.processes import ROOT
from tests.mock_issuer.hostile.servers import answering

PINNED = [stack for stack in STACKS if stack.pins]
ADDRESS = re.compile(r"(?:https?|git\+\w+|file)://", re.IGNORECASE)


def names(stacks: list[Stack]) -> list[str]:
    return [stack.name for stack in stacks]


@pytest.mark.parametrize("stack", PINNED, ids=names(PINNED))
def test_each_stack_has_exact_versions(stack: Stack) -> None:
    versions = stack.versions
    assert versions
    assert {name for name, version in versions.items() if not re.fullmatch(r"\d+(\.\d+)+(b\d+)?", version)} == set()
    assert stack.pins is not None
    if stack.kind == "node":
        packages = json.loads(stack.pins.read_text("utf-8"))["packages"]
        assert {name: packages[f"node_modules/{name}"]["version"] for name in versions} == versions
        del packages[""]
        assert {name for name, package in packages.items() if "integrity" not in package} == set()
        assert {name for name, package in packages.items() if "resolved" in package} == set()
        assert (stack.path / ".npmrc").read_text("utf-8") == "omit-lockfile-registry-resolved=true\n"
    else:
        text = stack.pins.read_text("utf-8")
        pins = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", text, re.MULTILINE))
        assert {name: pins[name] for name in versions} == versions
        unhashed = [line for line in text.splitlines() if re.match(r"\w", line) and not line.endswith("\\")]
        assert unhashed == []
        assert not ADDRESS.search(text)
        assert not re.search(r"^\s*(-i|--(extra-)?index-url|--find-links)", text, re.MULTILINE)


def test_each_folder_is_a_stack_and_stands_on_the_page() -> None:
    folders = {path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*/service.*")}
    assert folders == {stack.folder for stack in STACKS if stack.kind != "whole"}
    assert len({stack.name for stack in STACKS}) == len(STACKS)
    text, dpop = split_page((ROOT / "docs" / "peers.md").read_text("utf-8"))
    for stack in STACKS:
        assert f"\n## {stack.title}\n" in text, stack.name
        assert (f"\n### {stack.title}\n" in dpop) == stack.dpop, stack.name
        for name, version in stack.versions.items():
            assert f"{name} {version}" in text, name
            assert not stack.dpop or f"{name} {version}" in dpop, name
    assert {folder for folder in folders if f"(../benchmarks/peers/{folder}/)" not in text} == set()


def test_services_name_no_address() -> None:
    for service in FOLDER.glob("*/*/service.*"):
        found = {address for address in re.findall(r"https?://[^\s\"']+", service.read_text("utf-8")) if address}
        assert found <= {"https://"}, service


def row(name: str, verdict: str, *, level: str = "MUST", received: str = "200", why: str = "W, RFC 1 §2.") -> Any:
    expected = "401 invalid_token"
    members = {"name": name, "verdict": verdict, "expected": expected, "received": received}
    return members | {"level": level, "why": why, "section": "RFC 1 §2"}


def result(*rows: Any, **more: Any) -> dict[str, Any]:
    kinds = ("accepts", "crashes", "refuses", "differs")
    report = {
        "sent": len(rows),
        "right": sum(one["verdict"] == "right" for one in rows),
        "wrong": {kind: sum(one["verdict"] == kind for one in rows) for kind in kinds},
        "not_sent": 0,
        "stops": 0,
        "requests": list(rows),
    }
    found = {"date": "2026-01-02", "tools": "Node.js 20.1.0", "versions": {"lib": "1.2.3"}, "crashes": []}
    return found | {"report": report | more}


def test_the_page_has_the_mistakes_grouped_and_no_name_of_a_crash() -> None:
    one, two, three = (
        Stack(name=name, title=name.upper(), folder=f"node/{name}", kind="node", note=note)
        for name, note in (("one", "A note."), ("two", ""), ("three", ""))
    )
    accepted = [row(f"row-{number}", "accepts") for number in range(10)]
    crashed = [row(name, "crashes", received="500") for name in ("secret-1", "secret-2", "secret-3")]
    mixed = result(
        *accepted,
        row("soft", "differs", level="SHOULD", received="400"),
        row("hard", "differs", received="302"),
        *crashed,
        stops=2,
    )
    mixed["crashes"] = [
        {"received": "500", "part": "header of the token", "anybody": True},
        {"received": "500", "part": "claims of the token", "anybody": False},
        {"received": "500", "part": "header of the token", "anybody": True},
    ]
    failed = {"date": "2026-01-03", "tools": "Python 3.11", "versions": {"x": "1"}, "failure": "It did not start."}
    text = bearer_part((one, two, three), {"one": mixed, "two": result(row("a", "right")), "three": failed})
    lines = text.splitlines()
    assert "| ONE | lib 1.2.3 | 15 | 15 | 10 | 3 | 0 | 2 | 2026-01-02 |" in lines
    assert "| TWO | lib 1.2.3 | 1 | 0 | 0 | 0 | 0 | 0 | 2026-01-02 |" in lines
    assert "| THREE | x 1 |  |  |  |  |  |  | 2026-01-03 |" in lines
    assert (
        "Service: [`benchmarks/peers/node/one`](../benchmarks/peers/node/one/). Run with Node.js 20.1.0. A note."
        in lines
    )
    listed = ", ".join(f"`row-{number}`" for number in range(8))
    assert f"- 10 \u00d7 200, expected 401 invalid_token. MUST: W, RFC 1 §2. {listed} and 2 more" in lines
    assert "- 2 \u00d7 500; unusual header of the token, by anybody: no signature of the issuer is needed" in lines
    assert "- 1 \u00d7 500; unusual claims of the token, with a token that the issuer signed" in lines
    assert "- the service stopped 2 times and was started again" in lines
    assert text.index("`hard`") < text.index("`soft`")
    assert "secret" not in text
    assert "1 sent, none wrong." in lines
    assert "Not checked: It did not start." in lines


def test_dpop_is_a_part_of_its_own() -> None:
    one, two = (Stack(name=name, title=name.upper(), folder=f"node/{name}", kind="node") for name in ("one", "two"))
    results = {"one": result(row("dpop-x", "accepts")), "two": result(row("dpop-x", "right"))}
    bearer, dpop = bearer_part((one, two), results), dpop_part((one, two), results)
    assert split_page(bearer + dpop) == (bearer, dpop)
    assert split_page(bearer) == (bearer, "")
    lines = dpop.splitlines()
    assert lines[:2] == ["", "## DPoP"]
    assert "| ONE | lib 1.2.3 | 1 | 1 | 1 | 0 | 0 | 0 | 2026-01-02 |" in lines
    assert [line for line in lines if line.startswith("#")] == ["## DPoP", "### ONE", "### TWO"]
    assert "- 1 \u00d7 200, expected 401 invalid_token. MUST: W, RFC 1 §2. `dpop-x`" in lines


@pytest.mark.parametrize("nonce", ["", "n"])
def test_the_requests_of_the_second_part_are_all_those_about_proofs(nonce: str) -> None:
    arguments = iter(command.DPOP_OPTIONS)
    assert next(arguments) == "--dpop"
    patterns: dict[str, list[str]] = {"--only": [], "--skip": []}
    for option in arguments:
        patterns[option].append(next(arguments))
    with Server(Config()) as issuer:
        table = issuer.hostile(dpop_url="http://127.0.0.1/", dpop_nonce=nonce)
    chosen = {
        request.name
        for request in table
        if any(fnmatchcase(request.name, pattern) for pattern in patterns["--only"])
        and not any(fnmatchcase(request.name, pattern) for pattern in patterns["--skip"])
    }
    assert chosen == {request.name for request in table if request.challenge == "DPoP"}
    assert len(chosen) > 50


def jwt(header: Any, claims: Any = None) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims or {"sub": "x"}))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])


def sent(name: str, value: str) -> HostileRequest:
    return HostileRequest(name=name, headers=(("Authorization", value),), answers=((401, None),), why="")


def test_a_crash_is_repeated_without_the_issuers_signature() -> None:
    good, header, claims = jwt({"alg": "RS256"}), jwt({"alg": "RS256", "x": 1}), jwt({"alg": "RS256"}, {"deep": 1})
    table = {
        "good-token": sent("good-token", f"Bearer {good}"),
        "header": sent("header", f"Bearer {header}"),
        "claims": sent("claims", f"Bearer {claims}"),
        "form": sent("form", f"Bearer {good};"),
    }
    received: list[bytes] = []

    def answer(head: bytes) -> bytes:
        received.append(head)
        # The header is read before the signature is verified.
        status = b"500 Oh" if header.split(".")[0].encode() in head else b"401 No"
        return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"

    report = {"requests": [row(name, "crashes", received="500") for name in ("header", "claims", "form", "address")]}
    report["requests"].append(row("right", "right"))
    with answering(answer) as url:
        found = crashes.find_crashes(urlsplit(url), table, report)
    assert [(crash["part"], crash["anybody"]) for crash in found] == [
        ("header of the token", True),
        ("claims of the token", False),
        ("form of the credentials", False),
        ("header of the token", True),  # an address of the attacker's servers, signed by the attacker
    ]
    repeated = [head for head in received if b".c2ln" not in head]
    assert len(repeated) == 3


def test_a_crash_by_a_proof_is_repeated_with_the_proof() -> None:
    token, proof = jwt({"alg": "RS256"}), jwt({"typ": "dpop+jwt"})
    headers = (("Authorization", f"DPoP {token}"), ("DPoP", proof))
    row_of_proof = HostileRequest(name="p", headers=headers, answers=((401, None),), why="", challenge="DPoP")
    received: list[bytes] = []

    def answer(head: bytes) -> bytes:
        received.append(head)
        status = b"500 Oh" if b"\nDPoP: " in head else b"401 No"
        return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"

    report = {"requests": [row("p", "crashes", received="500")]}
    table = {"good-token": sent("good-token", f"Bearer {token}"), "p": row_of_proof}
    with answering(answer) as url:
        found = crashes.find_crashes(urlsplit(url), table, report)
    assert found == [{"received": "500", "part": "proof, or token with a proof", "anybody": True}]
    assert f"\nDPoP: {proof}\r\n".encode() in received[-1]
    assert token.encode() not in received[-1]


def test_one_stack_that_fails_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(stack: Stack, _directory: Path, _issuer: object, *, dpop: bool) -> dict[str, Any]:
        assert not dpop  # neither verifies proofs
        if stack.name == "jose":
            raise CannotRun("It did not start.")
        return {name: value for name, value in result(row("a", "right")).items() if name in {"report", "crashes"}}

    monkeypatch.setattr(command, "_RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "_PAGE", ROOT / "build" / "no-page.md")
    monkeypatch.setattr(command, "install", lambda stack: tmp_path)
    monkeypatch.setattr(command, "_checked", check)
    monkeypatch.setattr("sys.argv", ["peers", "jose", "pyjwt"])
    assert command.main() == 1
    out = capsys.readouterr().out
    assert "jose: not checked: It did not start.\n" in out
    assert "pyjwt: 1 sent, 1 right" in out
    assert "build/no-page.md is left as it is: no result yet of" in out
    assert not (ROOT / "build" / "no-page.md").exists()
    monkeypatch.setattr("sys.argv", ["peers", "jos"])
    with pytest.raises(SystemExit):
        command.main()
    assert "there is no jos" in capsys.readouterr().err


def test_dpop_alone_leaves_the_first_part_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked: list[tuple[str, bool]] = []

    def check(stack: Stack, *, dpop: bool) -> dict[str, Any]:
        checked.append((stack.name, dpop))
        return result(row("dpop-x", "accepts")) if dpop else result(row("x", "right"))

    page = tmp_path / "peers.md"
    page.write_text("# First\n\n| by hand |\n", "utf-8")
    monkeypatch.setattr(command, "_RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "_PAGE", page)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "_check", check)
    with_dpop = [stack.name for stack in STACKS if stack.dpop]
    monkeypatch.setattr("sys.argv", ["peers", "--dpop"])
    assert command.main() == 0
    assert checked == [(name, True) for name in with_dpop]
    first, second = split_page(page.read_text("utf-8"))
    assert first == "# First\n\n| by hand |\n"
    assert second.count("`dpop-x`") == len(with_dpop)
    assert f"{with_dpop[0]}, DPoP: 1 sent, 0 right" in capsys.readouterr().out

    monkeypatch.setattr("sys.argv", ["peers", *(stack.name for stack in STACKS if not stack.dpop)])
    assert command.main() == 0
    assert page.read_text("utf-8") == first + second  # the others have no result yet
    monkeypatch.setattr("sys.argv", ["peers", *with_dpop])
    assert command.main() == 0
    written, kept = split_page(page.read_text("utf-8"))
    assert written.startswith("# What known stacks answer\n")
    assert kept == second
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["peers", "--dpop", "jose"])
    with pytest.raises(SystemExit):
        command.main()
    assert "none of these verifies DPoP proofs: jose" in capsys.readouterr().err
