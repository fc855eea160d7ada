"""A program that uses the installed distribution mock-issuer without pytest."""

import sys
from typing import assert_type

from mock_issuer import Client, Config, Event, RuleContext, RuleDenied, Server, User, create_app


def deny_carol(user: User, client: Client, context: RuleContext) -> None:
    if user.username == "carol":
        raise RuleDenied(f"{client.name} is not for carol.")
    context.access_token["team"] = "blue"


def misuse(issuer: Server) -> None:
    issuer.token(scopes="read:things")  # type: ignore[call-arg]
    issuer.script(outcome="approved")  # type: ignore[arg-type]
    Config(users=["carol"])  # type: ignore[arg-type]
    create_app("carol")  # type: ignore[arg-type]


def main() -> None:
    config = Config(users=(User(username="carol"),), rules=(deny_carol,), device_code_seconds=60)
    with Server(config) as issuer:
        assert_type(issuer.url, str)
        assert_type(issuer.token(scope="read:things", claims={"acr": "strong"}), str)
        assert_type(issuer.rotate_keys(), str)
        assert_type(issuer.events, tuple[Event, ...])
        issuer.clock.advance(60)
        sys.stdout.write(issuer.url)


if __name__ == "__main__":
    main()
