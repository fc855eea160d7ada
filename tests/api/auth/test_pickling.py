"""Process pools and task queues pickle what they are given, and raise what comes back."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from flask import Flask, request

import api.auth
from api.auth import (
    Access,
    AccessToken,
    Auth,
    AuthConfig,
    AuthError,
    AuthEvents,
    ConfigError,
    InsufficientScope,
    InsufficientUserAuthentication,
    IntrospectionUnavailable,
    InvalidDPoPProof,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingCredentials,
    Reason,
    ReplaysUnavailable,
    Requirement,
    Sender,
    TemporarilyUnavailable,
    TokenVerifier,
    TrustedIssuer,
    UnverifiedRequest,
    UseDPoPNonce,
    current_token,
    require_auth,
)
from api.auth.flask.extension import _TOKEN

ISSUER = TrustedIssuer(
    identifier="https://issuer.example/",
    audiences=("a", "b"),
    app_scope_claims=("roles",),
    required_claims={"typ": "Bearer", "list": [1]},
    one_of_claims=(("scp", "roles"),),
)
CONFIG = AuthConfig(issuers=(ISSUER,), leeway_seconds=7)
SOME = frozenset({"read:devices"})
TOKEN = AccessToken("i", "s", ("a",), 5, 1.5, None, None, None, "c", None, SOME, SOME, b'{"iss":"i"}')


def unverified_request() -> UnverifiedRequest:
    raise NotImplementedError


INSTANCES: dict[str, object] = {
    "Access": Access.OPEN,
    "AccessToken": TOKEN,
    "Auth": Auth(TokenVerifier(CONFIG), realm="r", resource_url="https://api.example", undeclared="open"),
    "AuthConfig": CONFIG,
    "AuthError": AuthError(Reason.EXPIRED),
    "AuthEvents": AuthEvents(),
    "ConfigError": ConfigError(["One.", "Two."]),
    "InsufficientScope": InsufficientScope(("a", "b"), Reason.CLAIM_VALUE),
    "InsufficientUserAuthentication": InsufficientUserAuthentication(
        Reason.AUTHENTICATION_TOO_OLD, max_age=5, acr_values=("x", "y")
    ),
    "IntrospectionUnavailable": IntrospectionUnavailable(7),
    "InvalidDPoPProof": InvalidDPoPProof(Reason.PROOF_TIME, claim="iat"),
    "InvalidRequest": InvalidRequest(Reason.HEADER_MALFORMED),
    "InvalidToken": InvalidToken(Reason.EXPIRED),
    "KeysUnavailable": KeysUnavailable(7),
    "MissingCredentials": MissingCredentials(),
    "Reason": Reason.SCOPE,
    "ReplaysUnavailable": ReplaysUnavailable(2),
    "Requirement": Requirement(scopes=("a",), claims={"org": ["x"], "n": len}, max_age=3, dpop="required"),
    "Sender": Sender(request=unverified_request),
    "TemporarilyUnavailable": TemporarilyUnavailable(Reason.KEYS_UNAVAILABLE, retry_after_seconds=7),
    "TokenVerifier": TokenVerifier(CONFIG),
    "TrustedIssuer": ISSUER,
    "UnverifiedRequest": UnverifiedRequest("GET", "https://api.example/", str.upper, "192.0.2.1"),
    "UseDPoPNonce": UseDPoPNonce(),
    # What functions of the package return.
    "require_auth": require_auth("a", claims={"org": "x"}),
}


def pickler(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))  # our own bytes


COPIERS = [copy.copy, copy.deepcopy, *map(pickler, range(pickle.HIGHEST_PROTOCOL + 1))]


def described(value: Any) -> object:
    """Return what can be compared of a value."""
    if isinstance(value, AuthError) and type(value) is not AuthError:
        return type(value), value.args, vars(value), value.detail, value.challenge(realm="r"), str(value)
    if isinstance(value, Exception):
        return type(value), value.args, vars(value), str(value)
    if isinstance(value, TokenVerifier):
        return type(value), value.config
    if isinstance(value, Auth):
        return type(value), value.verifier.config, value.realm, value.resource_url(), value.undeclared
    return type(value) if type(value) is AuthEvents else (type(value), value)


def test_every_public_type_is_here() -> None:
    types = {name for name in api.auth.__all__ if isinstance(getattr(api.auth, name), type)}
    assert types <= INSTANCES.keys()


@pytest.mark.parametrize("copied", COPIERS)
@pytest.mark.parametrize("name", INSTANCES)
def test_public_objects_can_be_copied_and_pickled(name: str, copied: Callable[[Any], Any]) -> None:
    assert described(copied(INSTANCES[name])) == described(INSTANCES[name])


@pytest.mark.parametrize("copied", COPIERS)
def test_errors_keep_their_notes(copied: Callable[[Any], Any]) -> None:
    error = InvalidToken(Reason.EXPIRED)
    error.add_note("while a job ran")
    assert copied(error).__notes__ == ["while a job ran"]


def test_a_restored_requirement_is_frozen() -> None:
    restored: Any = copy.deepcopy(INSTANCES["Requirement"])
    with pytest.raises(TypeError):
        restored.claims["org"] = "y"


def test_a_restored_issuer_is_frozen() -> None:
    restored: Any = copy.deepcopy(ISSUER)
    with pytest.raises(TypeError):
        restored.required_claims["typ"] = "ID"


@pytest.mark.parametrize("copied", COPIERS)
def test_the_token_of_a_request_is_pickled_as_a_token(copied: Callable[[Any], Any]) -> None:
    with Flask(__name__).test_request_context():
        request.environ[_TOKEN] = TOKEN
        restored = copied(current_token)
    assert type(restored) is AccessToken
    assert restored == TOKEN


def refuse() -> None:
    raise InsufficientScope(("a",))


def test_a_process_pool_raises_the_error_that_a_worker_raised() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        future = pool.submit(refuse)
        with pytest.raises(InsufficientScope) as caught:
            future.result(timeout=30)
    assert caught.value.required == ("a",)
