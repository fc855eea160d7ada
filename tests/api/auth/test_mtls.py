"""Tokens that are bound to a client certificate: by the header of a trusted proxy, and nothing else (RFC 8705 §3)."""

import base64
import copy
import pickle
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth import (
    Auth,
    AuthConfig,
    AuthError,
    ConfigError,
    InvalidToken,
    Reason,
    Requirement,
    Sender,
    TokenVerifier,
    TrustedIssuer,
    UnverifiedRequest,
    current_token,
    require_auth,
)
from api.auth.mtls import MutualTLS, thumbprint_of
from tests.api.auth.answers import parse_challenge
from tests.kit.certificates import client_certificate
from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE, ISSUER, claims, jwks, rsa_key

KEY = rsa_key(0, "key-1")
MINE, OTHER = client_certificate(0), client_certificate(1)
PROXY = "127.0.0.1"
BEGIN, END = "-----BEGIN%20CERTIFICATE-----", "-----END%20CERTIFICATE-----"


def bound(**changes: Any) -> dict[str, Any]:
    return claims(cnf={"x5t#S256": MINE.thumbprint}, **changes)


@pytest.fixture
def verifier(key_server: KeyServer) -> TokenVerifier:
    key_server.publish(jwks(KEY))
    trusted = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=key_server.jwks_url)
    return TokenVerifier(AuthConfig(issuers=(trusted,)))


def sender(mtls: MutualTLS, *, peer: str | None = PROXY, **headers: str) -> Sender:
    """Return who sends headers, of which `_` in the name stands for a hyphen."""
    sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    request = UnverifiedRequest(
        method="GET",
        url="https://api.example/",
        header=lambda name: sent.get(name.lower()),
        peer_address=peer,
    )
    return Sender(request=lambda: request, mtls=mtls)


MTLS = MutualTLS(proxies=(PROXY, "10.0.0.0/8", "2001:db8::/32"))


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(AuthError) as caught:
        call()
    assert (caught.value.status, caught.value.error, caught.value.claim) == (401, "invalid_token", "cnf")
    return caught.value.reason


# The certificate


@pytest.mark.parametrize("header", [MINE.client_cert, MINE.escaped_pem, MINE.escaped_pem.removesuffix("%0A")])
def test_the_holder_of_the_certificate_is_let_in(verifier: TokenVerifier, header: str) -> None:
    token = KEY.sign(bound())
    for _ in range(2):  # once from the cache
        accepted = verifier.authenticate(f"Bearer {token}", sender=sender(MTLS, client_cert=header))
        assert accepted is not None
        assert accepted.certificate_thumbprint == MINE.thumbprint


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, Reason.CERTIFICATE_MISSING),
        ({"client_cert": ""}, Reason.CERTIFICATE_MISSING),
        ({"x_client_cert": MINE.client_cert}, Reason.CERTIFICATE_MISSING),
        ({"client_cert_chain": MINE.client_cert}, Reason.CERTIFICATE_MISSING),
        ({"client_cert": OTHER.client_cert}, Reason.CERTIFICATE_MISMATCH),
        ({"client_cert": OTHER.escaped_pem}, Reason.CERTIFICATE_MISMATCH),
        ({"client_cert": ":AAAA:"}, Reason.CERTIFICATE_MISMATCH),
        # The thumbprint is no certificate.
        ({"client_cert": MINE.thumbprint}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f"{OTHER.client_cert}, {MINE.client_cert}"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f"{MINE.client_cert};a=1"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": MINE.client_cert.strip(":")}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": MINE.client_cert[:-1]}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f" {MINE.client_cert}"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": ":"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": "::"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": ":=:"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": ":A=A=:"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": ":é:"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f"{OTHER.escaped_pem}{MINE.escaped_pem}"}, Reason.CERTIFICATE_MALFORMED),
        (
            {"client_cert": "-----BEGIN%20CERTIFICATE-----%0A%0A-----END%20CERTIFICATE-----"},
            Reason.CERTIFICATE_MALFORMED,
        ),
        ({"client_cert": "-----BEGIN%20CERTIFICATE-----%0A-----END%20CERTIFICATE-----"}, Reason.CERTIFICATE_MALFORMED),
        # Between other texts of the same lengths, or one of the two.
        ({"client_cert": f":{MINE.client_cert.strip(':')}="}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": ":QUJDx"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f"{BEGIN}%0AQUJD{'-' * 26}"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": f"{'-' * 28}QUJD%0A{END}"}, Reason.CERTIFICATE_MALFORMED),
        ({"client_cert": "é"}, Reason.CERTIFICATE_MALFORMED),
    ],
)
def test_another_certificate_or_none_is_refused(
    verifier: TokenVerifier, headers: dict[str, str], reason: Reason
) -> None:
    token = KEY.sign(bound())
    assert refused(lambda: verifier.verify(token, sender=sender(MTLS, **headers))) is reason


@given(
    text=st.one_of(st.text(), st.from_regex(r":[A-Za-z0-9+/=]*:"), st.binary().map(lambda raw: raw.decode("latin-1")))
)
@settings(max_examples=300, deadline=None)
def test_any_header_is_a_thumbprint_or_malformed(text: str) -> None:
    try:
        thumbprint = thumbprint_of(text)
    except ValueError:
        return
    assert len(thumbprint) == 43


@given(der=st.binary(min_size=1, max_size=2_000))
@settings(max_examples=100, deadline=None)
def test_both_forms_have_the_same_thumbprint(der: bytes) -> None:
    structured = f":{base64.b64encode(der).decode()}:"
    pem = ssl.DER_cert_to_PEM_cert(der).replace("+", "%2B").replace("\n", "%0A").replace(" ", "%20")
    assert thumbprint_of(structured) == thumbprint_of(pem)


# Who is believed


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        (PROXY, True),
        ("127.0.0.2", False),
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        (None, False),
        ("", False),
        ("unix", False),
        ("proxy.example", False),
    ],
)
def test_only_trusted_proxies_are_believed(verifier: TokenVerifier, peer: str | None, *, is_trusted: bool) -> None:
    def verify() -> object:
        return verifier.verify(KEY.sign(bound()), sender=sender(MTLS, peer=peer, client_cert=MINE.client_cert))

    if is_trusted:
        assert verify()
    else:
        assert refused(verify) is Reason.CERTIFICATE_MISSING


@pytest.mark.parametrize("peer", [None, ""])
def test_a_unix_socket_can_be_trusted(verifier: TokenVerifier, peer: str | None) -> None:
    mtls = MutualTLS(proxies=("unix",))
    assert verifier.verify(KEY.sign(bound()), sender=sender(mtls, peer=peer, client_cert=MINE.client_cert))
    assert not mtls.trusts(PROXY)


def test_the_header_can_have_another_name(verifier: TokenVerifier) -> None:
    mtls = MutualTLS(proxies=(PROXY,), header="X-Tls-Client")
    token = KEY.sign(bound())
    assert verifier.verify(token, sender=sender(mtls, x_tls_client=MINE.escaped_pem))
    usual = sender(mtls, client_cert=MINE.client_cert)
    assert refused(lambda: verifier.verify(token, sender=usual)) is Reason.CERTIFICATE_MISSING


def test_without_mutual_tls_a_bound_token_is_refused(verifier: TokenVerifier) -> None:
    assert refused(lambda: verifier.verify(KEY.sign(bound()))) is Reason.KEY_BOUND


# What is not bound


def test_a_plain_token_needs_no_certificate_and_may_have_one(verifier: TokenVerifier) -> None:
    token = KEY.sign(claims())
    for headers in ({}, {"client_cert": MINE.client_cert}, {"client_cert": "nonsense"}):
        assert verifier.verify(token, sender=sender(MTLS, **headers)).certificate_thumbprint is None


def test_nothing_of_the_request_is_read_for_a_plain_token(verifier: TokenVerifier) -> None:
    plain = Sender(request=lambda: pytest.fail("read"), mtls=MTLS)
    assert verifier.verify(KEY.sign(claims()), sender=plain)


def test_it_can_be_required_of_all_tokens_and_of_a_route(verifier: TokenVerifier) -> None:
    required = MutualTLS(proxies=(PROXY,), required=True)
    good, plain = KEY.sign(bound()), KEY.sign(claims())
    with_certificate = sender(required, client_cert=MINE.client_cert)
    assert verifier.verify(good, sender=with_certificate)
    assert refused(lambda: verifier.verify(plain, sender=with_certificate)) is Reason.NOT_CERTIFICATE_BOUND
    of_route = Requirement(mtls="required")
    with_certificate = sender(MTLS, client_cert=MINE.client_cert)
    assert verifier.verify(good, of_route, sender=with_certificate)
    assert refused(lambda: verifier.verify(plain, of_route, sender=with_certificate)) is Reason.NOT_CERTIFICATE_BOUND
    assert of_route.in_words() == "bound to a client certificate"
    wrong: Any = "maybe"
    with pytest.raises(ValueError, match='mtls is "required" or None'):
        Requirement(mtls=wrong)


# Configuration


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"proxies": ()}, "proxies must be a tuple"),
        ({"proxies": "127.0.0.1"}, "proxies must be a tuple"),
        ({"proxies": ("proxy.example",)}, "proxies: 'proxy.example' is no IP address"),
        ({"proxies": ("10.0.0.1/8",)}, "proxies: '10.0.0.1/8' is no IP address"),
        ({"proxies": (PROXY,), "header": "X_Cert"}, "header must be the name of a header"),
        ({"proxies": (PROXY,), "header": ""}, "header must be the name of a header"),
        ({"proxies": (PROXY,), "header": None}, "header must be the name of a header"),
        ({"proxies": (PROXY,), "required": "yes"}, "required must be True or False"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MutualTLS(**arguments)
    (told,) = caught.value.mistakes
    assert told.startswith(mistake)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_can_be_copied_and_pickled(copied: Callable[[Any], Any]) -> None:
    assert copied(MTLS) == MTLS
    assert copied(MTLS).trusts("10.0.0.1")
    # As it is written.
    assert eval(repr(copied(MTLS)), {"MutualTLS": MutualTLS}) == MTLS


# Flask


def client_of(verifier: TokenVerifier, **arguments: Any) -> FlaskClient:
    app = Flask(__name__)
    Auth(verifier, **arguments).init_app(app)

    @app.get("/any")
    @require_auth()
    def any_token() -> dict[str, str | None]:
        return {"thumbprint": current_token.certificate_thumbprint}

    @app.get("/bound")
    @require_auth(mtls="required")
    def bound_token() -> str:
        return "ok"

    return app.test_client()


def test_flask_tells_who_connects_and_with_what(verifier: TokenVerifier) -> None:
    client = client_of(verifier, mtls=MTLS)
    headers = {"Authorization": f"Bearer {KEY.sign(bound())}", "Client-Cert": MINE.client_cert}
    assert client.get("/any", headers=headers).get_json() == {"thumbprint": MINE.thumbprint}
    assert client.get("/bound", headers=headers).status_code == 200
    answer = client.get("/any", headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 401
    challenge = parse_challenge(answer.headers["WWW-Authenticate"])
    assert challenge["error"] == "invalid_token"
    assert challenge["error_description"] == "The access token is bound to a client certificate, and none came with it."
    # What a client says of its address does not matter.
    forwarded = {**headers, "X-Forwarded-For": PROXY}
    answer = client.get("/any", headers=forwarded, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 401
    plain = {"Authorization": f"Bearer {KEY.sign(claims())}"}
    assert [client.get(path, headers=plain).status_code for path in ("/any", "/bound")] == [200, 401]


def test_a_route_that_needs_it_does_not_run_without_it(verifier: TokenVerifier) -> None:
    client = client_of(verifier)
    client.application.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(RuntimeError, match="mtls=MutualTLS"):
        client.get("/bound", headers={"Authorization": f"Bearer {KEY.sign(claims())}"})
    with pytest.raises(InvalidToken):
        client.application.extensions["_bearer_auth"].verifier.verify(KEY.sign(bound()))
