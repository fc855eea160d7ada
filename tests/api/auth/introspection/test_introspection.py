import base64
import copy
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from api.auth import AuthConfig, ConfigError, TokenVerifier, TrustedIssuer, issuers
from api.auth.introspection import Introspection
from tests.api.auth.introspection.issuer import OPAQUE, PATH, SECRET, Issuer, Recorded, described, unavailable
from tests.kit.key_server import document
from tests.kit.signing import AUDIENCE


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"client_id": ""}, "client_id must be a non-empty string."),
        ({"client_id": 7}, "client_id must be a non-empty string."),
        ({"client_secret": None}, "client_secret must be a non-empty string."),
        ({"endpoint": "http://issuer.example/"}, "endpoint 'http://issuer.example/' must be an https URL"),
        ({"endpoint": f"https://api:{SECRET}@issuer.example/"}, "endpoint 'https://***@issuer.example/' must be"),
        ({"tokens": "none"}, "tokens must be one of opaque, jwt, all."),
        ({"token_type_required": 1}, "token_type_required must be True or False."),
    ],
)
def test_mistakes_are_told(changes: dict[str, Any], mistake: str) -> None:
    arguments: dict[str, Any] = {"client_id": "api", "client_secret": SECRET, **changes}
    with pytest.raises(ConfigError) as caught:
        Introspection(**arguments)
    (told,) = caught.value.mistakes
    assert told.startswith(mistake)
    assert SECRET not in told


def verifier_of(*several: Introspection) -> TokenVerifier:
    names = ("https://a.example/", "https://b.example/")
    return TokenVerifier(
        AuthConfig(issuers=tuple(TrustedIssuer(identifier=name, audiences=("a",)) for name in names)),
        introspection=several,
    )


def of(issuer: str | None, **changes: Any) -> Introspection:
    return Introspection(client_id="api", client_secret=SECRET, issuer=issuer, **changes)


def test_several_issuers_can_be_asked_but_one_alone_about_opaque_tokens() -> None:
    verifier = verifier_of(of("https://a.example/"), of("https://b.example/", tokens="jwt"))
    assert [one.identifier for one in verifier._introspectors] == ["https://a.example/", "https://b.example/"]
    for mistake, several in {
        "must be named, since several issuers are trusted": (of(None),),
        "must be one of the trusted issuers": (of("https://c.example/"),),
        "Only one issuer can be asked about opaque tokens": (of("https://a.example/"), of("https://b.example/")),
        "An issuer has several": (of("https://a.example/", tokens="jwt"), of("https://a.example/", tokens="jwt")),
    }.items():
        with pytest.raises(ConfigError, match=mistake):
            verifier_of(*several)


def test_the_secret_is_shown_nowhere(issuer: Issuer, verifier: TokenVerifier, events: Recorded) -> None:
    shown = [repr(one) for one in (of(None), verifier, *verifier._introspectors, vars(verifier))]
    issuer.answers[PATH] = document(b"{}", status=401)
    error: BaseException | None = unavailable(lambda: verifier.verify(OPAQUE))
    while error is not None:
        shown += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    shown += events.words
    for secret in (SECRET, "secret", base64.b64encode(b"api:secret").decode()[:12], OPAQUE):
        assert not any(secret in text.replace("client_secret", "") for text in shown)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_verifier_can_be_copied_and_pickled(issuer: Issuer, copied: Callable[[Any], Any]) -> None:
    trusted = TrustedIssuer(identifier=issuer.issuer, audiences=(AUDIENCE,))
    verifier = TokenVerifier(AuthConfig(issuers=(trusted,)), introspection=(of(None),))
    issuer.tokens[OPAQUE] = described(issuer) | {"iat": 1, "exp": int(time.time()) + 60}
    assert copied(verifier).verify(OPAQUE).subject == "user-1"
    assert copied(of(None)) == of(None)


def test_a_preset_works() -> None:
    auth0 = issuers.auth0("tenant.eu.auth0.com", audience="a")
    verifier = TokenVerifier(AuthConfig(issuers=(auth0,)), introspection=of(auth0.identifier))
    assert [one.identifier for one in verifier._introspectors] == ["https://tenant.eu.auth0.com/"]
