from collections.abc import Iterator
from typing import Any

import pytest

from api.auth import AuthConfig, TokenVerifier, TrustedIssuer
from api.auth.introspection import Introspection
from tests.api.auth.introspection.issuer import OPAQUE, SECRET, Clock, Issuer, Make, Recorded, described
from tests.kit.signing import AUDIENCE


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.open()
        issuer.tokens[OPAQUE] = described(issuer)
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> Recorded:
    return Recorded()


@pytest.fixture
def make(issuer: Issuer, clock: Clock, events: Recorded) -> Make:
    def make(
        *, cache_size: int = 100, rules: dict[str, Any] | None = None, is_revoked: Any = None, **changes: Any
    ) -> TokenVerifier:
        trusted = TrustedIssuer(identifier=issuer.issuer, audiences=(AUDIENCE,), **(rules or {}))
        return TokenVerifier(
            AuthConfig(issuers=(trusted,), token_cache_size=cache_size),
            introspection=Introspection(client_id="api", client_secret=SECRET, **changes),
            events=events,
            is_revoked=is_revoked,
            now=clock,
            monotonic=clock,
        )

    return make


@pytest.fixture
def verifier(make: Make) -> TokenVerifier:
    return make()
