"""The command `mock-issuer check`: sends the hostile requests to an API, judges its answers, and reports them."""

from mock_issuer.hostile.check.command import main

__all__ = ["main"]
