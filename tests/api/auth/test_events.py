"""A refused token is explained to the developer: by the name of the claim at fault, and never by its value."""

import logging
import subprocess
import sys
import threading
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

import api.auth
from api.auth import AuthConfig, AuthError, AuthEvents, Reason, Requirement, TokenVerifier, TrustedIssuer
from api.auth.keys.fetch import Fetched, FetchError
from tests.kit.processes import free_port
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEY = rsa_key()
NOW = 1_800_000_000
SECRET = "value-of-a-claim"
ANY = Requirement()
MISSING, MALFORMED, TYPE = Reason.CLAIM_MISSING, Reason.CLAIM_MALFORMED, Reason.TOKEN_TYPE
# What is changed in a valid token, the name of the claim at fault, the reason.
REFUSED_BY_ALL: list[tuple[dict[str, Any], str, Reason]] = [
    ({"iss": None}, "iss", Reason.ISSUER),
    ({"iss": 7}, "iss", Reason.ISSUER),
    ({"iss": f"https://{SECRET}.example/"}, "iss", Reason.ISSUER),
    ({"sub": None}, "sub", MISSING),
    ({"sub": [SECRET]}, "sub", MALFORMED),
    ({"sub": ""}, "sub", MALFORMED),
    ({"sub": f"{SECRET}\0"}, "sub", MALFORMED),
    ({"aud": None}, "aud", MISSING),
    ({"aud": {SECRET: 1}}, "aud", MALFORMED),
    ({"aud": [AUDIENCE, 7]}, "aud", MALFORMED),
    ({"aud": SECRET}, "aud", Reason.AUDIENCE),
    ({"aud": []}, "aud", Reason.AUDIENCE),
    ({"exp": None}, "exp", MISSING),
    ({"exp": SECRET}, "exp", MALFORMED),
    ({"exp": True}, "exp", MALFORMED),
    ({"exp": NOW - 3600}, "exp", Reason.EXPIRED),
    ({"nbf": SECRET}, "nbf", MALFORMED),
    ({"nbf": NOW + 3600}, "nbf", Reason.NOT_YET_VALID),
    ({"iat": SECRET}, "iat", MALFORMED),
    ({"iat": NOW + 3600}, "iat", Reason.NOT_YET_VALID),
    ({"auth_time": SECRET}, "auth_time", MALFORMED),
    ({"acr": 7}, "acr", MALFORMED),
    ({"client_id": [SECRET]}, "client_id", MALFORMED),
    ({"client_id": None, "azp": [SECRET]}, "azp", MALFORMED),
    ({"jti": [SECRET]}, "jti", MALFORMED),
    ({"scope": {SECRET: 1}}, "scope", MALFORMED),
    ({"scope": f"{SECRET}  b"}, "scope", MALFORMED),
    ({"scp": {SECRET: 1}}, "scp", MALFORMED),
    ({"scp": [SECRET, 7]}, "scp", MALFORMED),
    ({"scp": f"{SECRET}  b"}, "scp", MALFORMED),
    ({"permissions": SECRET}, "permissions", MALFORMED),
    ({"permissions": [SECRET, 7]}, "permissions", MALFORMED),
    ({"cnf": {"jkt": SECRET}}, "cnf", Reason.KEY_BOUND),
    *[({name: SECRET}, name, TYPE) for name in ("at_hash", "c_hash", "s_hash", "events", "htm", "htu")],
    *[({"typ": kind}, "typ", TYPE) for kind in ("ID", "Refresh", "Offline", "Logout")],
    ({"nonce": SECRET}, "nonce", TYPE),
    ({"token_use": SECRET}, "token_use", TYPE),
]
# The same, with what a route requires.
REFUSED_BY_A_ROUTE: list[tuple[dict[str, Any], Requirement, str | None, Reason]] = [
    ({}, Requirement(scopes=("admin",)), None, Reason.SCOPE),
    ({}, Requirement(any_of=("admin", "root")), None, Reason.SCOPE),
    ({}, Requirement(audiences=("https://other.example",)), "aud", Reason.AUDIENCE),
    ({}, Requirement(issuers=("https://other.example/",)), "iss", Reason.ISSUER),
    ({}, Requirement(claims={"org": "acme"}), "org", Reason.CLAIM_VALUE),
    ({"org": SECRET}, Requirement(claims={"org": "acme"}), "org", Reason.CLAIM_VALUE),
    ({"level": 2, "org": SECRET}, Requirement(claims={"level": 2, "org": str.isupper}), "org", Reason.CLAIM_VALUE),
    ({}, Requirement(max_age=60), "auth_time", Reason.AUTHENTICATION_TOO_OLD),
    ({"auth_time": NOW - 3600}, Requirement(max_age=60), "auth_time", Reason.AUTHENTICATION_TOO_OLD),
    ({}, Requirement(acr_values=("mfa",)), "acr", Reason.AUTHENTICATION_TOO_WEAK),
    ({"acr": SECRET}, Requirement(acr_values=("mfa",)), "acr", Reason.AUTHENTICATION_TOO_WEAK),
]
ROWS = [*((changes, ANY, claim, reason) for changes, claim, reason in REFUSED_BY_ALL), *REFUSED_BY_A_ROUTE]


class Heard(AuthEvents):
    def __init__(self) -> None:
        self.refused: list[tuple[Reason, str | None]] = []

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.refused.append((reason, claim))


def serve_keys(_url: str, _seconds: float) -> Fetched:
    return Fetched(jwks(KEY), 600)


def verifier_with(events: AuthEvents | None) -> TokenVerifier:
    issuer = TrustedIssuer(
        identifier=ISSUER,
        audiences=(AUDIENCE,),
        jwks_url=f"{ISSUER}jwks",
        scope_claims=("scope", "scp", "permissions"),
    )
    return TokenVerifier(AuthConfig(issuers=(issuer,)), events=events, fetch=serve_keys, now=lambda: NOW)


@pytest.mark.parametrize(
    ("changes", "requirement", "claim", "reason"),
    [pytest.param(*row, id=f"{row[2]}: {row[0] or row[1].in_words()}") for row in ROWS],
)
def test_the_claim_at_fault_is_named_and_its_value_is_not(
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    requirement: Requirement,
    claim: str | None,
    reason: Reason,
) -> None:
    token = KEY.sign(claims(NOW, **changes))
    heard = Heard()
    with pytest.raises(AuthError) as refused:
        verifier_with(heard).verify(token, requirement)
    assert (refused.value.reason, refused.value.claim) == (reason, claim)
    assert heard.refused == [(reason, claim)]
    with caplog.at_level(logging.DEBUG, "api.auth"), pytest.raises(AuthError):
        verifier_with(None).verify(token, requirement)
    (line,) = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert line == ("api.auth", "DEBUG", f"Request refused: {reason}{f' ({claim})' if claim else ''}")
    told = f"{caplog.text}{refused.value}{refused.value!r}{refused.value.headers(realm='api')}{refused.value.detail}"
    assert SECRET not in told
    assert token not in told


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, Reason.NO_CREDENTIALS),
        (f"Bearer {SECRET} {SECRET}", Reason.HEADER_MALFORMED),
        (f"Bearer {SECRET}", Reason.MALFORMED),
        (f"Bearer {KEY.sign(claims(NOW))[:-4]}AAAA", Reason.SIGNATURE),
        (f"Bearer {KEY.sign(claims(NOW), kid=SECRET)}", Reason.KEY_UNKNOWN),
        (f"Bearer {KEY.sign(claims(NOW), typ=SECRET)}", Reason.TOKEN_TYPE),
    ],
)
def test_a_refusal_for_no_claim_names_none(
    caplog: pytest.LogCaptureFixture, authorization: str | None, reason: Reason
) -> None:
    heard = Heard()
    with pytest.raises(AuthError):
        verifier_with(heard).authenticate(authorization)
    assert heard.refused == [(reason, None)]
    with caplog.at_level(logging.DEBUG, "api.auth"), pytest.raises(AuthError):
        verifier_with(None).authenticate(authorization)
    assert [record.getMessage() for record in caplog.records] == [f"Request refused: {reason}"]


def test_an_accepted_token_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        verifier_with(None).verify(KEY.sign(claims(NOW)))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("api.auth")] == []


def test_a_failed_fetch_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_url: str, _seconds: float) -> Fetched:
        raise FetchError("no answer")

    issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=f"{ISSUER}jwks")
    verifier = TokenVerifier(AuthConfig(issuers=(issuer,)), fetch=fail, now=lambda: NOW)
    with pytest.raises(AuthError):
        verifier.verify(KEY.sign(claims(NOW)))
    # The thread that fetches logs after the request goes on.
    for thread in threading.enumerate():
        if thread.name == "jwks-fetch":
            thread.join(timeout=10)
    warnings = [(record.name, record.getMessage()) for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [("api.auth", f"The keys of {ISSUER} cannot be fetched: no answer")]


PROGRAM = """\
import logging, sys, threading
directory, issuer, token, level = sys.argv[1:]
sys.path.insert(0, directory)
from shield import AuthConfig, AuthError, TokenVerifier, TrustedIssuer
if level != "default":
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("shield").setLevel(level)
verifier = TokenVerifier(AuthConfig(issuers=(TrustedIssuer(identifier=issuer, audiences=("a",)),)))
for unverified_token in ("malformed", token):
    try:
        verifier.verify(unverified_token)
    except AuthError:
        pass
for thread in threading.enumerate():
    if thread.name == "jwks-fetch":
        thread.join()
"""
REFUSED = ["Request refused: keys_unavailable", "Request refused: malformed"]


@pytest.mark.parametrize(
    ("level", "debug_lines", "warning"),
    [
        # Without any logging set up, Python shows warnings alone, by their text.
        ("default", [], "The keys of "),
        ("DEBUG", [f"shield DEBUG {line}" for line in REFUSED], "shield WARNING The keys of "),
        ("WARNING", [], "shield WARNING The keys of "),
    ],
)
def test_a_copy_logs_under_its_own_name_and_by_default_warnings_alone(
    tmp_path: Path, level: str, debug_lines: list[str], warning: str
) -> None:
    copytree(Path(api.auth.__file__).parent, tmp_path / "shield", ignore=ignore_patterns("__pycache__"))
    issuer = f"http://127.0.0.1:{free_port()}/"  # nobody listens there
    token = KEY.sign(claims(iss=issuer, aud="a"))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), issuer, token, level]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    # The warning comes from another thread.
    *debug, fetch_failed = sorted(ended.stderr.splitlines())
    assert debug == debug_lines
    assert fetch_failed.startswith(f"{warning}{issuer} cannot be fetched: ")
    assert ended.stdout == ""
