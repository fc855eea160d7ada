"""The hostile table in each dialect: an API with the vendor's preset gives an acceptable answer to every request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from api.auth import AuthConfig, AuthError, Requirement, TokenVerifier, TrustedIssuer, issuers
from mock_issuer import Api, Client, Config
from mock_issuer.config import Dialect
from tests.mock_issuer.conftest import LiveIssuer

# A GUID, as Entra wants the identifier of an API to be.
API = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
SCOPE = "read:a"
CLIENT = "client-1"
CONFIG = Config(apis=(Api(audience=API),), clients=(Client(client_id=CLIENT),))
PRESETS: dict[Dialect, TrustedIssuer] = {
    "rfc9068": issuers.rfc9068("https://tenant.logto.app/oidc", audience=API),
    "auth0": issuers.auth0("tenant.eu.auth0.com", audience=API),
    "entra": issuers.entra(API, client_id=API),
    "keycloak": issuers.keycloak("https://keycloak.example", "tv", audience=API),
    "okta": issuers.okta("org.okta.com", audience=API),
    "cognito": issuers.cognito("us-west-2", "us-west-2_example", client_ids=CLIENT),
    "duende": issuers.duende("https://identity.example", audience=API),
}


def wrong_answers(
    rows: Iterable[dict[str, Any]], trusted: TrustedIssuer, clock: Callable[[], float], scope: str
) -> set[str]:
    """Return the names of the rows to which an API that trusts this issuer gives an answer that is not acceptable."""
    verifier = TokenVerifier(AuthConfig(issuers=(trusted,)), now=clock)
    requirement = Requirement(scopes=(scope,) if scope else ())
    wrong = set()
    for row in rows:
        # As HTTP servers pass headers on: without white space around them (RFC 9110 §5.5), joined with commas (§5.3).
        values = [value.strip(" \t") for name, value in row["headers"] if name.lower() == "authorization"]
        try:
            verifier.authenticate(",".join(values) if values else None, requirement, query=row["query"])
            answer: list[Any] = [200, None]
        except AuthError as refusal:
            answer = [refusal.status, refusal.error]
        if answer not in row["answers"]:
            wrong.add(row["name"])
    return wrong


Table = Callable[[Dialect, str], tuple[LiveIssuer, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Return table(dialect, scope), which returns an issuer and its rows: each table takes 300 signatures."""
    with ExitStack() as stack:

        @cache
        def issuer_of(dialect: Dialect) -> LiveIssuer:
            return LiveIssuer(replace(CONFIG, dialect=dialect), stack)

        @cache
        def table(dialect: Dialect, scope: str) -> tuple[LiveIssuer, list[dict[str, Any]]]:
            issuer = issuer_of(dialect)
            return issuer, issuer.get("/_mock/hostile", params={"scope": scope}).json()["requests"]

        yield table


@pytest.mark.parametrize("scope", [SCOPE, ""])
@pytest.mark.parametrize("dialect", sorted(PRESETS))
def test_the_vendors_preset_makes_no_mistake(table: Table, dialect: Dialect, scope: str) -> None:
    issuer, rows = table(dialect, scope)
    assert len(rows) > 300
    trusted = replace(PRESETS[dialect], identifier=issuer.url)
    assert wrong_answers(rows, trusted, issuer.clock, scope) == set()


@pytest.mark.parametrize("dialect", ["auth0", "entra"])
def test_an_api_that_looks_at_the_type_alone_accepts_the_vendors_id_tokens(table: Table, dialect: Dialect) -> None:
    issuer, rows = table(dialect, "")
    lax = TrustedIssuer(identifier=issuer.url, audiences=(API,), token_types=("JWT",), scope_claims=("scope", "scp"))
    found = wrong_answers(rows, lax, issuer.clock, "")
    assert found == {"id-token-of-the-vendor"}


@pytest.mark.parametrize("dialect", sorted(PRESETS.keys() - {"rfc9068", "duende"}))
def test_an_api_that_demands_at_jwt_refuses_the_vendors_good_token(table: Table, dialect: Dialect) -> None:
    issuer, rows = table(dialect, SCOPE)
    trusted = replace(PRESETS[dialect], identifier=issuer.url, token_types=("at+jwt",))
    assert "good-token" in wrong_answers(rows, trusted, issuer.clock, SCOPE)
