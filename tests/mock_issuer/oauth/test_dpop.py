"""DPoP at the issuer (RFC 9449): bound tokens, refused proofs, nonces, `/userinfo`."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from mock_issuer import Client, Config, Server
from mock_issuer.flow.dpop import NONCE_SECONDS
from mock_issuer.flow.records import Access, CodeRequest
from mock_issuer.rules import ExtraClaims
from tests.kit.prover import Prover
from tests.kit.signing import SigningKey, b64, ed25519_key, rsa_key, rsa_private_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer

    Make = Callable[[Config], LiveIssuer]

AUDIENCE = "https://device-api.example"
GATEWAY = ("device-gateway", "public-test-secret")
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ALL_SCOPES = "openid read:devices offline_access"
PROVER = Prover()


def token_url(issuer: LiveIssuer) -> str:
    return issuer.url + "oauth/token"


def proof(issuer: LiveIssuer, prover: Prover = PROVER, **changes: Any) -> str:
    """Return a proof for the token endpoint, at the issuer's time."""
    usual: dict[str, Any] = {"now": issuer.clock.now}
    return prover.proof("POST", token_url(issuer), **(usual | changes))


def request_token(issuer: LiveIssuer, sent_proof: str | None, **form: str) -> requests.Response:
    headers = {} if sent_proof is None else {"DPoP": sent_proof}
    return issuer.post("/oauth/token", {"client_id": "device-app", **form}, headers=headers)


def approved(issuer: LiveIssuer, scope: str = ALL_SCOPES) -> dict[str, str]:
    """Return the form that redeems an approved device code."""
    device = issuer.device(scope=scope)
    issuer.server.approve(device["user_code"])
    return {"grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}


def bound_tokens(issuer: LiveIssuer, prover: Prover = PROVER, **changes: Any) -> dict[str, Any]:
    response = request_token(issuer, proof(issuer, prover, **changes), **approved(issuer))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def refresh(issuer: LiveIssuer, refresh_token: str, sent_proof: str | None) -> requests.Response:
    return request_token(issuer, sent_proof, grant_type="refresh_token", refresh_token=refresh_token)


def userinfo(
    issuer: LiveIssuer, access_token: str, sent_proof: str | None, scheme: str = "DPoP", method: str = "GET"
) -> requests.Response:
    headers = {"Authorization": f"{scheme} {access_token}"} | ({} if sent_proof is None else {"DPoP": sent_proof})
    return issuer.request(method, "/userinfo", headers=headers)


def for_userinfo(issuer: LiveIssuer, access_token: str, prover: Prover = PROVER, **changes: Any) -> str:
    usual: dict[str, Any] = {"access_token": access_token, "now": issuer.clock.now}
    return prover.proof("GET", issuer.url + "userinfo", **(usual | changes))


@pytest.mark.parametrize(
    "key",
    [PROVER.key, ed25519_key(), SigningKey(ed25519_key().private_key, algorithm="EdDSA"), rsa_key()],
    ids=["ES256", "EdDSA", "EdDSA of the same kind", "RS256"],
)
def test_a_proof_binds_the_tokens_to_its_key(issuer: LiveIssuer, key: SigningKey) -> None:
    prover = Prover(key)
    tokens = bound_tokens(issuer, prover)
    assert tokens["token_type"] == "DPoP"
    claims = issuer.verify(tokens["access_token"])[1]
    assert claims["cnf"] == {"jkt": prover.thumbprint}
    found = issuer.post("/oauth/introspect", {"token": tokens["access_token"]}, auth=GATEWAY).json()
    assert (found["token_type"], found["cnf"]) == ("DPoP", {"jkt": prover.thumbprint})
    renewed = refresh(issuer, tokens["refresh_token"], proof(issuer, prover)).json()
    assert renewed["token_type"] == "DPoP"
    assert issuer.verify(renewed["access_token"])[1]["cnf"] == {"jkt": prover.thumbprint}


@pytest.mark.parametrize("algorithm", ["PS256", "Ed25519"])
def test_the_other_algorithms(issuer: LiveIssuer, algorithm: str) -> None:
    # PyJWT knows Ed25519 as EdDSA alone, so the header is changed before the signature is made.
    key = rsa_key(algorithm="PS256") if algorithm == "PS256" else ed25519_key()
    sent = proof(issuer, Prover(key), header={"alg": algorithm})
    assert request_token(issuer, sent, **approved(issuer)).json()["token_type"] == "DPoP"


def test_without_a_proof_nothing_is_bound(issuer: LiveIssuer) -> None:
    response = request_token(issuer, None, **approved(issuer))
    assert response.json()["token_type"] == "Bearer"
    assert "cnf" not in issuer.verify(response.json()["access_token"])[1]
    assert "DPoP-Nonce" not in response.headers


def test_a_rule_cannot_replace_the_binding(make_issuer: Make) -> None:
    def rule(_user: Any, _client: Any, context: Any) -> None:
        context.access_token["cnf"] = {"jkt": "another"}

    issuer = make_issuer(Config(rules=(rule,)))
    assert issuer.verify(bound_tokens(issuer)["access_token"])[1]["cnf"] == {"jkt": PROVER.thumbprint}


@pytest.mark.parametrize("dialect", ["auth0", "entra", "keycloak", "okta", "cognito", "duende"])
def test_a_token_of_each_dialect_is_bound(make_issuer: Make, dialect: Any) -> None:
    issuer = make_issuer(Config(dialect=dialect))
    claims = issuer.server._issuer.keys.verify(
        bound_tokens(issuer)["access_token"],
        typ={"okta": None, "cognito": None, "duende": "at+jwt"}.get(dialect, "JWT"),
    )
    assert claims is not None
    assert claims["cnf"] == {"jkt": PROVER.thumbprint}


def test_client_credentials_are_bound_too(issuer: LiveIssuer) -> None:
    form = {"grant_type": "client_credentials", "audience": AUDIENCE}
    response = issuer.post("/oauth/token", form, auth=GATEWAY, headers={"DPoP": proof(issuer)})
    assert response.json()["token_type"] == "DPoP"
    assert issuer.verify(response.json()["access_token"])[1]["cnf"] == {"jkt": PROVER.thumbprint}


# Refused proofs

OTHER = Prover()
SMALL_RSA = SigningKey(rsa_private_key(0, 1024), algorithm="RS256")
RSA_2047 = SigningKey(rsa_private_key(0, 2047), algorithm="RS256")
P384 = SigningKey(ec.generate_private_key(ec.SECP384R1()), algorithm="ES384")


def private_jwk() -> dict[str, Any]:
    number = PROVER.key.private_key.private_numbers().private_value
    return PROVER.jwk | {"d": b64(number.to_bytes(32))}


def padded_jwk(key: SigningKey) -> dict[str, Any]:
    number = key.private_key.public_key().public_numbers().n
    return {"kty": "RSA", "e": "AQAB", "n": b64(number.to_bytes(256))}


def hs256(issuer: LiveIssuer) -> str:
    secret = SigningKey(b"x" * 32, algorithm="HS256")
    jwk = {"kty": "oct", "k": b64(b"x" * 32)}
    claims = {"htm": "POST", "htu": token_url(issuer), "iat": int(issuer.clock.now), "jti": "hs256"}
    return secret.sign(claims, typ="dpop+jwt", kid=None, jwk=jwk)


def padded(issuer: LiveIssuer, part: int, length: int) -> str:
    """Return a proof whose header (part 0) or claims (part 1) have this many characters of base64url."""

    def make(padding: str) -> str:
        return proof(issuer, header={"unknown": padding}) if part == 0 else proof(issuer, unknown=padding)

    return make("x" * (length * 3 // 4 - len(make("").split(".")[part]) * 3 // 4))


REFUSED: dict[str, Callable[[LiveIssuer], str]] = {
    "empty": lambda _: "",
    "no JWT": lambda _: "x.y",
    "no JSON": lambda _: f"{b64(b'x')}.{b64(b'x')}.AA",
    "header a list": lambda _: PROVER.key.sign_raw(b'["alg"]', b"{}"),
    "header a string": lambda _: PROVER.key.sign_raw(b'"alg"', b"{}"),
    "nested deep": lambda _: f"{b64(b'[' * 2_000)}.{b64(b'{}')}.AA",
    "claims nested deep": lambda _: PROVER.key.sign_raw(
        b'{"typ":"dpop+jwt","alg":"ES256","jwk":' + str(PROVER.jwk).replace("'", '"').encode() + b"}", b"[" * 3_000
    ),
    "header too long": lambda issuer: padded(issuer, 0, 4_098),
    "claims too long": lambda issuer: padded(issuer, 1, 4_098),
    "claims are a list": lambda _: PROVER.key.sign_bytes(b"[]", typ="dpop+jwt", kid=None, jwk=PROVER.jwk),
    "two proofs": lambda issuer: f"{proof(issuer)},{proof(issuer)}",
    "typ JWT": lambda issuer: proof(issuer, header={"typ": "JWT"}),
    "no typ": lambda issuer: proof(issuer, header={"typ": None}),
    "alg none": lambda issuer: proof(issuer, header={"alg": "none"}),
    "alg HS256": hs256,
    "alg a list": lambda issuer: proof(issuer, header={"alg": ["ES256"]}),
    "alg of another key": lambda issuer: proof(issuer, header={"alg": "RS256"}),
    "P-384": lambda issuer: proof(issuer, Prover(P384)),
    "P-384 as ES256": lambda issuer: proof(issuer, Prover(P384), header={"alg": "ES256"}),
    "small RSA key": lambda issuer: proof(issuer, Prover(SMALL_RSA)),
    "RSA key a little too small": lambda issuer: proof(issuer, Prover(RSA_2047)),
    "small RSA key, padded": lambda issuer: proof(issuer, Prover(SMALL_RSA), header={"jwk": padded_jwk(SMALL_RSA)}),
    "RSA key without n": lambda issuer: proof(issuer, Prover(SMALL_RSA), header={"jwk": {"kty": "RSA"}}),
    "no jwk": lambda issuer: proof(issuer, header={"jwk": None}),
    "jwk a string": lambda issuer: proof(issuer, header={"jwk": "x"}),
    "jwk a list": lambda issuer: proof(issuer, header={"jwk": [PROVER.jwk]}),
    "jwk empty": lambda issuer: proof(issuer, header={"jwk": {}}),
    "jwk without kty": lambda issuer: proof(issuer, header={"jwk": PROVER.jwk | {"kty": "XX"}}),
    "jwk no point": lambda issuer: proof(issuer, header={"jwk": PROVER.jwk | {"x": "AA"}}),
    "jwk a number": lambda issuer: proof(issuer, header={"jwk": PROVER.jwk | {"x": 5}}),
    "private jwk": lambda issuer: proof(issuer, header={"jwk": private_jwk()}),
    "jwk of another": lambda issuer: proof(issuer, header={"jwk": OTHER.jwk}),
    "critical parameter": lambda issuer: proof(issuer, header={"crit": ["b64"], "b64": False}),
    "critical parameter without effect": lambda issuer: proof(issuer, header={"crit": ["b64"], "b64": True}),
    "no htm": lambda issuer: proof(issuer, htm=None),
    "htm GET": lambda issuer: proof(issuer, htm="GET"),
    "htm in lower case": lambda issuer: proof(issuer, htm="post"),
    "no htu": lambda issuer: proof(issuer, htu=None),
    "htu a number": lambda issuer: proof(issuer, htu=1),
    "htu no URL": lambda issuer: proof(issuer, htu="http://[x"),
    "htu with a wrong port": lambda issuer: proof(issuer, htu="http://127.0.0.1:x/"),
    "htu of another path": lambda issuer: proof(issuer, htu=issuer.url + "oauth/revoke"),
    "htu of another case": lambda issuer: proof(issuer, htu=issuer.url + "oauth/Token"),
    "htu of another host": lambda issuer: proof(issuer, htu="http://issuer.example/oauth/token"),
    "htu of another scheme": lambda issuer: proof(issuer, htu=token_url(issuer).replace("http:", "https:")),
    "htu with userinfo": lambda issuer: proof(issuer, htu=token_url(issuer).replace("//", "//u@")),
    "no iat": lambda issuer: proof(issuer, iat=None),
    "iat a string": lambda issuer: proof(issuer, iat=str(issuer.clock.now)),
    "iat true": lambda issuer: proof(issuer, iat=True),
    "iat infinite": lambda issuer: proof(issuer, iat=float("inf")),
    "iat no number": lambda issuer: proof(issuer, iat=float("nan")),
    "iat huge": lambda issuer: proof(issuer, iat=10**400),
    "iat too old": lambda issuer: proof(issuer, iat=issuer.clock.now - 61),
    "iat too new": lambda issuer: proof(issuer, iat=issuer.clock.now + 61),
    "no jti": lambda issuer: proof(issuer, jti=None),
    "jti a number": lambda issuer: proof(issuer, jti=1),
    "jti empty": lambda issuer: proof(issuer, jti=""),
    "jti too long": lambda issuer: proof(issuer, jti="x" * 257),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_proof_uses_up_no_grant(issuer: LiveIssuer, name: str) -> None:
    form = approved(issuer)
    response = request_token(issuer, REFUSED[name](issuer), **form)
    assert issuer.refused(response) == (400, "invalid_dpop_proof")
    assert request_token(issuer, proof(issuer), **form).status_code == 200


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_jwk_with_any_private_member_is_refused(issuer: LiveIssuer, member: str) -> None:
    # Of any kind of key: the library reads those of the key's own kind alone.
    sent = proof(issuer, header={"jwk": PROVER.jwk | {member: "AA"}})
    assert issuer.refused(request_token(issuer, sent, **approved(issuer))) == (400, "invalid_dpop_proof")


ACCEPTED: dict[str, Callable[[LiveIssuer], str]] = {
    "oldest iat": lambda issuer: proof(issuer, iat=issuer.clock.now - 60),
    "newest iat": lambda issuer: proof(issuer, iat=issuer.clock.now + 60),
    "shortest jti": lambda issuer: proof(issuer, jti="x"),
    "longest jti": lambda issuer: proof(issuer, jti="x" * 256),
    "longest header, of an unknown parameter": lambda issuer: padded(issuer, 0, 4_096),
    "longest claims": lambda issuer: padded(issuer, 1, 4_096),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_proof_at_a_bound_is_accepted(issuer: LiveIssuer, name: str) -> None:
    assert request_token(issuer, ACCEPTED[name](issuer), **approved(issuer)).json()["token_type"] == "DPoP"


SEGMENT = st.one_of(
    st.binary(max_size=40).map(b64),
    st.dictionaries(st.sampled_from(["typ", "alg", "jwk", "crit", "htm"]), st.none() | st.text() | st.integers()).map(
        lambda members: b64(json.dumps(members).encode())
    ),
)
HEADER = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip),
    st.lists(SEGMENT, min_size=3, max_size=3).map(".".join),
)


@given(HEADER)
def test_whatever_is_no_proof_is_refused(shared_issuer: LiveIssuer, value: str) -> None:
    response = request_token(shared_issuer, value, grant_type=DEVICE_CODE_GRANT, device_code="unknown")
    assert shared_issuer.refused(response) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "changed",
    [
        lambda url: url + "?a=b",
        lambda url: url + "#a",
        lambda url: url.replace("http://", "HTTP://"),
    ],
)
def test_the_address_is_compared_after_normalization(issuer: LiveIssuer, changed: Callable[[str], str]) -> None:
    assert bound_tokens(issuer, htu=changed(token_url(issuer)))["token_type"] == "DPoP"


def test_the_address_is_that_of_the_metadata_or_that_of_the_request(make_issuer: Make) -> None:
    issuer = make_issuer(Config())
    port = urlsplit(issuer.url).port
    form = approved(issuer)
    response = issuer.post(
        "/oauth/token",
        {"client_id": "device-app", **form},
        headers={"DPoP": proof(issuer, htu=f"http://localhost:{port}/oauth/token"), "Host": f"localhost:{port}"},
    )
    assert response.json()["token_type"] == "DPoP"


NAMED = ("https://issuer.example", "https://issuer.example:443", "http://issuer.test", "http://issuer.test:80")
NOT_NAMED = (
    *("https://issuer.example:444", "https://issuer.example:80", "https://other.example", "https://issuer.test"),
    *("http://issuer.test:81", "http://issuer.test:443", "http://other.test", "http://issuer.example"),
)


def test_the_address_needs_no_port_that_is_its_schemes() -> None:
    def error(origin: str) -> str:
        form = {"client_id": "device-app", "grant_type": DEVICE_CODE_GRANT, "device_code": "unknown"}
        headers = {"DPoP": PROVER.proof("POST", f"{origin}/oauth/token"), "Host": "issuer.test"}
        response = requests.post(f"{server.url}oauth/token", data=form, headers=headers, timeout=10)
        return str(response.json()["error"])

    with Server(issuer="https://issuer.example/") as server:
        # The proof is accepted; the device code is not.
        assert {origin: error(origin) for origin in NAMED} == dict.fromkeys(NAMED, "invalid_grant")
        assert {origin: error(origin) for origin in NOT_NAMED} == dict.fromkeys(NOT_NAMED, "invalid_dpop_proof")


def test_a_proof_is_used_once_per_key(issuer: LiveIssuer) -> None:
    sent = proof(issuer, jti="the same")
    form = approved(issuer)
    assert request_token(issuer, sent, **form).status_code == 200
    assert issuer.refused(request_token(issuer, sent, **approved(issuer))) == (400, "invalid_dpop_proof")
    assert request_token(issuer, proof(issuer, OTHER, jti="the same"), **approved(issuer)).status_code == 200
    issuer.clock.advance(200)
    assert request_token(issuer, proof(issuer, jti="the same"), **approved(issuer)).status_code == 200


def test_a_proof_from_the_future_is_used_once_until_it_is_too_old(issuer: LiveIssuer) -> None:
    newest = issuer.clock.now + 60
    sent = proof(issuer, iat=newest)
    assert request_token(issuer, sent, **approved(issuer)).status_code == 200
    issuer.clock.advance(120)
    assert issuer.refused(request_token(issuer, sent, **approved(issuer))) == (400, "invalid_dpop_proof")
    assert request_token(issuer, proof(issuer, iat=newest), **approved(issuer)).status_code == 200


def test_the_controls_clock_does_not_make_a_proof_old(issuer: LiveIssuer) -> None:
    # No client knows that clock.
    issuer.server.clock.advance(3_000)
    assert bound_tokens(issuer)["token_type"] == "DPoP"


# What grants are bound to


def test_a_refresh_needs_the_same_key(issuer: LiveIssuer) -> None:
    token = bound_tokens(issuer)["refresh_token"]
    assert issuer.refused(refresh(issuer, token, None)) == (400, "invalid_dpop_proof")
    assert issuer.refused(refresh(issuer, token, proof(issuer, OTHER))) == (403, "invalid_grant")
    renewed = refresh(issuer, token, proof(issuer))
    assert renewed.status_code == 200
    # Without the key, a used token cannot revoke its family either.
    assert issuer.refused(refresh(issuer, token, proof(issuer, OTHER))) == (403, "invalid_grant")
    again = renewed.json()["refresh_token"]
    assert issuer.refused(refresh(issuer, again, None)) == (400, "invalid_dpop_proof")
    assert refresh(issuer, again, proof(issuer)).status_code == 200
    assert issuer.refused(refresh(issuer, again, proof(issuer))) == (403, "invalid_grant")  # reuse, with the key


def test_a_refresh_can_bind_what_was_not_bound(issuer: LiveIssuer) -> None:
    token = issuer.linked()["refresh_token"]
    renewed = refresh(issuer, token, proof(issuer)).json()
    assert renewed["token_type"] == "DPoP"
    assert issuer.refused(refresh(issuer, renewed["refresh_token"], None)) == (400, "invalid_dpop_proof")


CONFIDENTIAL = Client(
    client_id="web",
    secret="s",
    application_type="web",
    grant_types=frozenset({"authorization_code", "refresh_token"}),
    redirect_uris=frozenset({"https://a.example/cb"}),
)
PUBLIC = Client(
    client_id="spa",
    grant_types=frozenset({"authorization_code", "refresh_token"}),
    redirect_uris=frozenset({"https://a.example/cb"}),
)
VERIFIER = "v" * 43


def issued_code(issuer: LiveIssuer, client: Client, key_thumbprint: str = "") -> dict[str, str]:
    """Return the form that redeems an authorization code."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    code_request = CodeRequest(
        client_id=client.client_id,
        redirect_uri="https://a.example/cb",
        access=Access(audience=AUDIENCE, scopes=("read:devices", "offline_access")),
        code_challenge=challenge,
        nonce="",
        key_thumbprint=key_thumbprint,
    )
    user, now = issuer.server.config.users[0], issuer.clock.now
    state = issuer.server._issuer.state
    code = state.issue_code(code_request, user=user, auth_time=0, claims=ExtraClaims(), now=now)
    form = {"client_id": client.client_id, "grant_type": "authorization_code", "code": code}
    form |= {"redirect_uri": "https://a.example/cb", "code_verifier": VERIFIER}
    return form | ({} if client.secret is None else {"client_secret": client.secret})


def test_a_confidential_clients_refresh_token_is_not_bound(make_issuer: Make) -> None:
    issuer = make_issuer(Config(clients=(CONFIDENTIAL,)))
    tokens = request_token(issuer, proof(issuer), **issued_code(issuer, CONFIDENTIAL)).json()
    assert tokens["token_type"] == "DPoP"
    form = {"client_id": "web", "client_secret": "s", "grant_type": "refresh_token"}
    other = request_token(issuer, proof(issuer, OTHER), **form, refresh_token=tokens["refresh_token"]).json()
    assert issuer.verify(other["access_token"])[1]["cnf"] == {"jkt": OTHER.thumbprint}
    plain = request_token(issuer, None, **form, refresh_token=other["refresh_token"]).json()
    assert plain["token_type"] == "Bearer"


def test_a_code_with_dpop_jkt_needs_that_key(make_issuer: Make) -> None:
    issuer = make_issuer(Config(clients=(PUBLIC,)))
    form = issued_code(issuer, PUBLIC, PROVER.thumbprint)
    assert issuer.refused(request_token(issuer, None, **form)) == (400, "invalid_dpop_proof")
    assert issuer.refused(request_token(issuer, proof(issuer, OTHER), **form)) == (403, "invalid_grant")
    tokens = request_token(issuer, proof(issuer), **form).json()
    assert tokens["token_type"] == "DPoP"
    form = {"client_id": "spa", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert issuer.refused(request_token(issuer, None, **form)) == (400, "invalid_dpop_proof")


def test_a_device_request_with_a_proof_is_bound_to_its_key(issuer: LiveIssuer) -> None:
    url = issuer.url + "oauth/device/code"
    form = {"client_id": "device-app", "audience": AUDIENCE, "scope": "read:devices"}

    def request_device(sent: str) -> requests.Response:
        return issuer.post("/oauth/device/code", form, headers={"DPoP": sent})

    assert issuer.refused(request_device(proof(issuer))) == (400, "invalid_dpop_proof")  # for the token endpoint
    device = request_device(PROVER.proof("POST", url, now=issuer.clock.now)).json()
    issuer.server.approve(device["user_code"])
    poll = {"grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}
    assert issuer.refused(request_token(issuer, None, **poll)) == (400, "invalid_dpop_proof")
    assert issuer.refused(request_token(issuer, proof(issuer, OTHER), **poll)) == (403, "invalid_grant")
    assert request_token(issuer, proof(issuer), **poll).json()["token_type"] == "DPoP"


def test_a_refused_proof_is_no_poll(issuer: LiveIssuer) -> None:
    device = issuer.device()
    poll = {"grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}
    assert issuer.refused(request_token(issuer, "x", **poll)) == (400, "invalid_dpop_proof")
    assert issuer.refused(request_token(issuer, proof(issuer), **poll)) == (403, "authorization_pending")
    (event,) = issuer.server.events
    assert (event.type, event.description) == ("fede", "The header DPoP must be one JWT.")


def test_a_client_can_be_registered_to_always_prove_a_key(make_issuer: Make) -> None:
    issuer = make_issuer(Config(clients=(Client(client_id="device-app", dpop_bound_access_tokens=True),)))
    form = approved(issuer)
    assert issuer.refused(request_token(issuer, None, **form)) == (400, "invalid_dpop_proof")
    assert request_token(issuer, proof(issuer), **form).status_code == 200


# Nonces


def test_with_nonces_a_proof_needs_a_recent_one(make_issuer: Make) -> None:
    issuer = make_issuer(Config(dpop_nonces=True))
    form = approved(issuer)
    missing = request_token(issuer, proof(issuer), **form)
    assert issuer.refused(missing) == (400, "use_dpop_nonce")
    nonce = missing.headers["DPoP-Nonce"]
    for wrong in ("x", 5, ""):
        assert issuer.refused(request_token(issuer, proof(issuer, nonce=wrong), **form)) == (400, "use_dpop_nonce")
    answer = request_token(issuer, proof(issuer, nonce=nonce), **form)
    assert answer.status_code == 200
    assert answer.headers["DPoP-Nonce"] == nonce
    assert issuer.server.events[-1].type == "sede"  # and no failure before it
    assert {event.type for event in issuer.server.events} == {"sede"}

    issuer.clock.advance(NONCE_SECONDS)
    previous = refresh(issuer, answer.json()["refresh_token"], proof(issuer, nonce=nonce))
    assert previous.status_code == 200
    newer = previous.headers["DPoP-Nonce"]
    assert newer != nonce
    issuer.clock.advance(NONCE_SECONDS)
    token = previous.json()["refresh_token"]
    assert issuer.refused(refresh(issuer, token, proof(issuer, nonce=nonce))) == (400, "use_dpop_nonce")
    assert refresh(issuer, token, proof(issuer, nonce=newer)).status_code == 200


def test_a_wrong_signature_gets_no_hint_of_a_nonce(make_issuer: Make) -> None:
    issuer = make_issuer(Config(dpop_nonces=True))
    wrong = request_token(issuer, proof(issuer, header={"jwk": OTHER.jwk}), **approved(issuer))
    assert issuer.refused(wrong) == (400, "invalid_dpop_proof")


# /userinfo


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
def test_userinfo_takes_a_bound_token_with_a_proof(issuer: LiveIssuer, scheme: str) -> None:
    token = bound_tokens(issuer)["access_token"]
    assert userinfo(issuer, token, for_userinfo(issuer, token), scheme).json() == {"sub": "mock|alice"}
    posted = userinfo(issuer, token, for_userinfo(issuer, token, htm="POST"), method="POST")
    assert posted.json() == {"sub": "mock|alice"}


def test_userinfo_has_the_address_of_the_metadata_and_that_of_the_request(issuer: LiveIssuer) -> None:
    token, here = bound_tokens(issuer)["access_token"], f"localhost:{urlsplit(issuer.url).port}"

    def answer(url: str) -> requests.Response:
        sent = for_userinfo(issuer, token, htu=f"{url}userinfo")
        return issuer.get("/userinfo", headers={"Authorization": f"DPoP {token}", "DPoP": sent, "Host": here})

    assert answer(issuer.url).status_code == 200
    assert answer(f"http://{here}/").status_code == 200
    assert issuer.refused(answer("http://other.example/")) == (401, "invalid_dpop_proof")


def challenged(response: requests.Response) -> tuple[str, str]:
    """Return scheme and error of the only challenge."""
    assert response.status_code == 401
    scheme, _, parameters = response.headers["WWW-Authenticate"].partition(" ")
    assert ("algs=" in parameters) is (scheme == "DPoP")
    return scheme, parameters.partition('error="')[2].partition('"')[0]


def test_userinfo_refuses_other_proofs(issuer: LiveIssuer) -> None:
    token = bound_tokens(issuer)["access_token"]
    for changes in ({"ath": None}, {"ath": "x"}, {"htm": "POST"}, {"htu": token_url(issuer)}, {"iat": 1}):
        response = userinfo(issuer, token, for_userinfo(issuer, token, **changes))
        assert challenged(response) == ("DPoP", "invalid_dpop_proof"), changes
    assert challenged(userinfo(issuer, token, None)) == ("DPoP", "invalid_dpop_proof")
    other = for_userinfo(issuer, token, OTHER)
    assert challenged(userinfo(issuer, token, other)) == ("DPoP", "invalid_token")
    sent = for_userinfo(issuer, token)
    assert userinfo(issuer, token, sent).status_code == 200
    assert challenged(userinfo(issuer, token, sent)) == ("DPoP", "invalid_dpop_proof")


def test_userinfo_confuses_no_bound_token_with_a_bearer_token(issuer: LiveIssuer) -> None:
    bound, plain = bound_tokens(issuer)["access_token"], issuer.linked(scope="openid")["access_token"]
    assert challenged(userinfo(issuer, bound, None, "Bearer")) == ("Bearer", "invalid_token")
    assert challenged(userinfo(issuer, bound, for_userinfo(issuer, bound), "Bearer")) == ("Bearer", "invalid_token")
    assert challenged(userinfo(issuer, plain, for_userinfo(issuer, plain))) == ("DPoP", "invalid_token")
    for cnf in ({"x5t#S256": "x"}, {"jkt": 5}, {}, "x"):
        token = issuer.server.token(scope="openid", claims={"cnf": cnf})
        assert challenged(userinfo(issuer, token, None, "Bearer")) == ("Bearer", "invalid_token"), cnf
        assert challenged(userinfo(issuer, token, for_userinfo(issuer, token))) == ("DPoP", "invalid_token"), cnf


def test_userinfo_tells_a_bound_token_what_it_lacks(issuer: LiveIssuer) -> None:
    token = issuer.server.token(claims={"aud": issuer.url + "userinfo", "cnf": {"jkt": PROVER.thumbprint}})
    response = userinfo(issuer, token, for_userinfo(issuer, token))
    assert issuer.refused(response) == (403, "insufficient_scope")
    assert response.headers["WWW-Authenticate"] == 'DPoP error="insufficient_scope", scope="openid"'


def test_userinfo_gives_nonces_too(make_issuer: Make) -> None:
    issuer = make_issuer(Config(dpop_nonces=True))
    token = issuer.server.token(scope="openid", claims={"cnf": {"jkt": PROVER.thumbprint}})
    missing = userinfo(issuer, token, for_userinfo(issuer, token))
    assert challenged(missing) == ("DPoP", "use_dpop_nonce")
    nonce = missing.headers["DPoP-Nonce"]
    answer = userinfo(issuer, token, for_userinfo(issuer, token, nonce=nonce))
    assert answer.status_code == 200
    assert answer.headers["DPoP-Nonce"] == nonce
