"""`Introspection`: what is configured about asking an issuer. What asks: introspector.py."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..config import (
    AuthConfig,
    ConfigError,
    TrustedIssuer,
    is_secure_url,
    without_credentials,
)
from ..events import AuthEvents
from ..keys.fetch import Fetch
from .introspector import Introspector

Tokens = Literal["opaque", "jwt", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection:
    """How to ask one issuer about tokens, as a client of its own there (RFC 7662 §2.1, client_secret_basic).

    `client_id` and `client_secret` are this API's at the issuer. `issuer` is the identifier of a trusted issuer; None
    means the only one. `endpoint` is the address to ask; None means `introspection_endpoint` of the issuer's metadata
    (RFC 8414 §2).
    `tokens` says for which tokens the issuer is asked: `opaque` for those that are no JWT, `jwt` for the JWTs of this
    issuer, `all` for both. Opaque tokens do not say who issued them: one issuer alone can be asked about them.
    `token_type_required` tells whether the answer must say that the token is an access token (by `token_type`, or the
    `typ` or `token_use` of vendors). Without, an issuer that answers for refresh tokens makes access tokens of them.

    Raises ConfigError. Asks nothing.
    """

    client_id: str
    client_secret: str = field(repr=False)
    issuer: str | None = None
    endpoint: str | None = None
    tokens: Tokens = "opaque"
    token_type_required: bool = True

    def __post_init__(self) -> None:
        mistakes = [
            f"{name} must be a non-empty string."
            for name in ("client_id", "client_secret")
            if not isinstance(getattr(self, name), str) or not getattr(self, name)
        ]
        if self.endpoint is not None and not is_secure_url(self.endpoint):
            shown = without_credentials(self.endpoint)
            mistakes.append(f"endpoint {shown!r} must be an https URL (http on loopback only).")
        if self.tokens not in get_args(Tokens):
            mistakes.append(f"tokens must be one of {', '.join(get_args(Tokens))}.")
        if not isinstance(self.token_type_required, bool):
            mistakes.append("token_type_required must be True or False.")
        if mistakes:
            raise ConfigError(mistakes)

    def issuer_of(self, config: AuthConfig) -> TrustedIssuer:
        """Return the issuer to ask. Raises ConfigError if it is not trusted, or not named among several."""
        found = [one for one in config.issuers if self.issuer in (None, one.identifier)]
        if len(found) != 1:
            wanted = "one of the trusted issuers" if self.issuer else "named, since several issuers are trusted"
            raise ConfigError([f"The issuer of an introspection must be {wanted}."])
        return found[0]

    def start(
        self,
        config: AuthConfig,
        *,
        events: AuthEvents,
        fetch: Fetch,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> Introspector:
        """Return what asks; a `TokenVerifier` calls this with its own arguments. Raises ConfigError."""
        return Introspector(
            self.issuer_of(config),
            client_id=self.client_id,
            client_secret=self.client_secret,
            endpoint=self.endpoint,
            takes_opaque=self.tokens != "jwt",
            takes_jwt=self.tokens != "opaque",
            token_type_required=self.token_type_required,
            max_accepted=config.token_cache_size,
            events=events,
            fetch=fetch,
            now=now,
            monotonic=monotonic,
        )
