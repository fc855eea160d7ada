"""Token string → `AccessToken`: every check together. Imports no web framework.

`TokenVerifier.authenticate` takes the header of a request, `TokenVerifier.verify` a token. Read from `_accept`: token
cache, then `_verify_signature`, then the checks that every use of a token repeats.
"""

import functools
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from .claims import AccessToken, read_claims
from .config import AuthConfig, ConfigError
from .errors import AuthError, InvalidRequest, InvalidToken, MissingCredentials, Scheme
from .events import AuthEvents
from .keys.fetch import Fetch, fetch
from .keys.key_cache import KeyCache
from .possession import Sender
from .reasons import Reason
from .requirement import Requirement
from .token_cache import Found, TokenCache, VerifiedToken
from .unverified_token import (
    MAX_TOKEN_CHARS,
    UnverifiedHeader,
    bearer_token,
    dpop_token,
    has_dpop_scheme,
    parse_header,
    parse_payload,
    split,
)

ANY_VALID_TOKEN = Requirement()
_NOT_FOUND: Found = (None, None)
# An issuer signs with a few keys, and all tokens of one key have the same header.
_MAX_HEADERS = 64


class Introspects(Protocol):
    """Asks an issuer about tokens: the class `Introspector` of the folder `introspection`, which a copy may lack."""

    identifier: str
    takes_opaque: bool
    takes_jwt: bool

    def find(self, key: bytes, unverified_token: str) -> tuple[AccessToken, bool] | None:
        """Return the token, and whether the answer was remembered; None if the issuer is not asked about it."""
        ...

    def start_check(self) -> None:
        """Ask whether the issuer answers; do not wait."""
        ...

    def is_ready(self) -> bool:
        """Return whether the issuer answers, after waiting 3 s at most."""
        ...

    def renew_locks(self) -> None:
        """Replace the locks, in a forked child."""
        ...


class StartsIntrospection(Protocol):
    """Says how to ask an issuer: the class `Introspection` of the folder `introspection`."""

    def start(
        self,
        config: AuthConfig,
        *,
        events: AuthEvents,
        fetch: Fetch,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> Introspects:
        """Return what asks. Raises ConfigError."""
        ...


class TokenVerifier:
    """Verifies bearer tokens with the keys that their issuers publish. Thread-safe; usable in a forked process.

    Fetches no keys before the first token comes. `events` is called with every outcome. `is_revoked` is called with
    each token that is otherwise valid, cached ones too; by default no token counts as revoked. `introspection` is one
    `Introspection`, or several for as many issuers: without it, opaque tokens are refused. `fetch` gets a document by
    HTTP. `now` is a clock in seconds since 1970, `monotonic` one in seconds that never goes back.

    Raises ConfigError if `introspection` does not fit `config`.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        events: AuthEvents | None = None,
        is_revoked: Callable[[AccessToken], bool] | None = None,
        introspection: StartsIntrospection | tuple[StartsIntrospection, ...] = (),
        fetch: Fetch = fetch,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._anew = functools.partial(
            type(self),
            config,
            events=events,
            is_revoked=is_revoked,
            introspection=introspection,
            fetch=fetch,
            now=now,
            monotonic=monotonic,
        )
        self.config = config
        self.events = events or AuthEvents()
        self._is_revoked = is_revoked
        self._now = now
        self._issuers = {issuer.identifier: issuer for issuer in config.issuers}
        self._keys = {
            issuer.identifier: KeyCache(issuer, config, events=self.events, fetch=fetch, monotonic=monotonic)
            for issuer in config.issuers
        }
        several = introspection if isinstance(introspection, tuple) else (introspection,)
        self._introspectors = tuple(
            one.start(config, events=self.events, fetch=fetch, now=now, monotonic=monotonic) for one in several
        )
        _refuse_ambiguous(self._introspectors)
        self._algorithms = frozenset(config.algorithms)
        self._token_types = {
            issuer.identifier: frozenset(name.lower() for name in issuer.token_types) for issuer in config.issuers
        }
        self._headers: dict[bytes, UnverifiedHeader] = {}
        self._cache = TokenCache(config.token_cache_size)
        # By a subclass: `authenticate` then calls it, which looks the token up a second time.
        self._is_verify_overridden = type(self).verify is not TokenVerifier.verify
        if hasattr(os, "register_at_fork"):  # not on Windows
            # Weakly: a hook cannot be removed.
            os.register_at_fork(after_in_child=functools.partial(_renew_in_child, weakref.ref(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this verifier: with its arguments, without cached keys and tokens."""
        return self._anew, ()

    def authenticate(
        self,
        authorization: str | None,
        requirement: Requirement = ANY_VALID_TOKEN,
        *,
        query: str = "",
        sender: Sender | None = None,
    ) -> AccessToken | None:
        """Return the verified token of a request; None if `requirement` is optional and the request has no token.

        `authorization` is the value of the `Authorization` header, None without one; repeated headers are joined with
        commas (RFC 9110 §5.3). `query` is the query of the URL, as sent. `sender` is for tokens that are bound to a
        key: without it they are refused. Does not look for a second token in a form.

        If the sender may prove possession by DPoP, the scheme may also be `DPoP` (RFC 9449 §7.1).

        Raises MissingCredentials with the scopes of `requirement`; InvalidRequest if the header is malformed, or the
        query has a token too (RFC 6750 §2); and what `verify` raises.
        """
        if sender is not None and sender.dpop is not None and has_dpop_scheme(authorization):
            return self._authenticate_by_dpop(authorization, requirement, query, sender)
        looked_up, found = "", _NOT_FOUND
        # Before the form is checked: `split` and `decode_segment` accept nothing that a header cannot hold, so that a
        # cached token has that form. This saves 1 % of a protected request.
        if authorization is not None and not query and authorization.startswith("Bearer "):
            looked_up = authorization[7:]
            found = self._cache.find(looked_up)
        unverified_token = looked_up
        if found[1] is None:
            try:
                unverified_token = bearer_token(authorization, query)
            except MissingCredentials as refusal:
                if requirement.optional:
                    return None
                self.events.token_refused(refusal.reason, claim=None)
                missing = MissingCredentials(requirement.required_scopes, refusal.reason)
                missing.takes_bearer = requirement.dpop is None
                raise missing from None
            except InvalidRequest as refusal:
                self.events.token_refused(refusal.reason, claim=None)
                raise
        try:
            if self._is_verify_overridden:
                return self.verify(unverified_token, requirement, sender=sender)
            if unverified_token != looked_up:
                found = self._cache.find(unverified_token)
            return self._accept(unverified_token, found, requirement, sender, "Bearer")
        except AuthError as refusal:
            refusal.takes_bearer = requirement.dpop is None
            raise

    def _authenticate_by_dpop(
        self, authorization: str, requirement: Requirement, query: str, sender: Sender
    ) -> AccessToken:
        """Return the verified token of a request with the scheme `DPoP`."""
        try:
            try:
                unverified_token = dpop_token(authorization, query)
            except InvalidRequest as refusal:
                self.events.token_refused(refusal.reason, claim=None)
                raise
            return self.verify(unverified_token, requirement, sender=sender, scheme="DPoP")
        except AuthError as refusal:
            refusal.scheme = "DPoP"
            refusal.takes_bearer = requirement.dpop is None
            raise

    def verify(
        self,
        unverified_token: str,
        requirement: Requirement = ANY_VALID_TOKEN,
        *,
        sender: Sender | None = None,
        scheme: Scheme = "Bearer",
    ) -> AccessToken:
        """Return the access token in `unverified_token`, verified (RFC 7519 §7.2, RFC 8725 §3, RFC 9068 §4).

        Checks form, algorithm, type, issuer, signature, audience, times, revocation, that `sender` holds the key that
        the token is bound to, if it is, and then `requirement`. `scheme` is what the token was sent with. Does *not*
        ask the issuer about the token, unless `introspection` says so: whether the session behind it has ended, the
        issuer alone knows.

        Raises InvalidToken; InsufficientScope or InsufficientUserAuthentication if a valid token does not meet the
        requirement; KeysUnavailable if the issuer's keys cannot be fetched, IntrospectionUnavailable if the issuer does
        not answer.
        """
        return self._accept(unverified_token, self._cache.find(unverified_token), requirement, sender, scheme)

    def _accept(
        self,
        unverified_token: str,
        found: Found,
        requirement: Requirement,
        sender: Sender | None,
        scheme: Scheme,
    ) -> AccessToken:
        """Do what `verify` does; `found` is what the cache has of the token."""
        token = None
        try:
            key, cached = found
            if key is not None and cached is not None:
                token, algorithm_and_kid, keys = cached
                keys_of_issuer = self._keys[token.issuer]
                # With another key set than now, the token's key may have been withdrawn: then `find` raises.
                if keys is not keys_of_issuer.current_keys() and keys is not keys_of_issuer.find(algorithm_and_kid)[1]:
                    token = None
                    self._cache.remove(key)
            from_cache = token is not None
            if token is None:
                token, from_cache = self._verify_anew(unverified_token, key)
            # For cached tokens too: time passes, routes differ in their audience, and a token may be revoked meanwhile.
            now, leeway_seconds = self._now(), self.config.leeway_seconds
            issuer = self._issuers[token.issuer]
            token.check_audience(requirement.audiences or issuer.audiences, issuer.audience_claim)
            token.check_times(now, leeway_seconds)
            if self._is_revoked is not None and self._is_revoked(token):
                raise InvalidToken(Reason.REVOKED)
            if sender is not None:
                sender.check(token, unverified_token, scheme)
            elif token.key_thumbprint is not None or token.certificate_thumbprint is not None:
                raise InvalidToken(Reason.KEY_BOUND, claim="cnf")
            if requirement is not ANY_VALID_TOKEN:  # saves 0.4 µs, 15 % of verifying a cached token
                requirement.check(token, now, leeway_seconds)
        except AuthError as refusal:
            self.events.token_refused(refusal.reason, claim=refusal.claim)
            raise
        self.events.token_accepted(from_cache=from_cache)
        return token

    def renew_locks(self) -> None:
        """Replace the locks, and what one of them guards, in a forked child: a thread of the parent may hold them."""
        self._cache = TokenCache(self.config.token_cache_size)
        for keys in self._keys.values():
            keys.renew_lock()
        for introspector in self._introspectors:
            introspector.renew_locks()

    def readiness(self) -> dict[str, bool]:
        """Return for each issuer whether its tokens can be judged, after waiting 3 s at most for all first fetches.

        An issuer that is asked about its JWTs needs no keys.
        """
        without_keys = {one.identifier for one in self._introspectors if one.takes_jwt}
        needed = {identifier: keys for identifier, keys in self._keys.items() if identifier not in without_keys}
        for keys in needed.values():
            keys.start_due_fetch()
        for introspector in self._introspectors:
            introspector.start_check()
        ready = dict.fromkeys(self._keys, True) | {identifier: keys.is_ready() for identifier, keys in needed.items()}
        for introspector in self._introspectors:
            ready[introspector.identifier] &= introspector.is_ready()
        return ready

    def _verify_anew(self, unverified_token: str, key: bytes | None) -> tuple[AccessToken, bool]:
        """Return the token, verified by its signature or its issuer, and whether an issuer's answer was remembered.

        `key` is where the cache keeps the token, None for nowhere.
        """
        if self._introspectors:
            _check_form(unverified_token)
            found = self._introspect(key or TokenCache.key(unverified_token), unverified_token)
            if found is not None:
                return found
        verified = self._verify_signature(unverified_token)
        if key is not None:
            self._cache.put(key, verified)
        return verified[0], False

    def _introspect(self, key: bytes, unverified_token: str) -> tuple[AccessToken, bool] | None:
        """Return the token as its issuer describes it, and whether that was remembered; None if no issuer is asked."""
        for introspector in self._introspectors:
            found = introspector.find(key, unverified_token)
            if found is not None:
                return found
        return None

    def _verify_signature(self, unverified_token: str) -> VerifiedToken:
        """Return the token, its signature and the form of its claims verified (RFC 7515 §5.2).

        Does not check audience, times and revocation.
        """
        header_segment, payload_segment, signing_input, signature = split(unverified_token)
        # A header that was parsed before saves 3 µs, 9 % of an unseen token.
        known_header = self._headers.get(header_segment)
        header = known_header or parse_header(header_segment, algorithms=self._algorithms)
        unverified_payload, payload_json = parse_payload(payload_segment)
        # RFC 8725 §3.8: each issuer has its own keys. So `iss` is read before the signature is verified, and has to
        # equal a trusted issuer.
        unverified_issuer = unverified_payload.get("iss")
        if not isinstance(unverified_issuer, str) or unverified_issuer not in self._keys:
            raise InvalidToken(Reason.ISSUER, claim="iss")
        # For a header that was parsed before too: issuers differ in their types (RFC 8725 §3.11).
        if header.token_type not in self._token_types[unverified_issuer]:
            raise InvalidToken(Reason.TOKEN_TYPE)
        key, keys = self._keys[unverified_issuer].find(header.algorithm_and_kid)
        if not key.verifies(signing_input, signature):
            raise InvalidToken(Reason.SIGNATURE)
        # The signature holds: the payload is the issuer's from here on. Headers are kept from here on only, so that
        # nobody but an issuer can fill the memory with them.
        if known_header is None:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            self._headers[header_segment] = header
        token = read_claims(unverified_payload, payload_json, self._issuers[unverified_issuer])
        return token, header.algorithm_and_kid, keys


def _check_form(unverified_token: str) -> None:
    if len(unverified_token) > MAX_TOKEN_CHARS:
        raise InvalidToken(Reason.TOO_LONG)
    if not unverified_token.isascii():
        raise InvalidToken(Reason.MALFORMED)


def _refuse_ambiguous(introspectors: tuple[Introspects, ...]) -> None:
    mistakes = []
    if sum(one.takes_opaque for one in introspectors) > 1:
        # Asking one after the other would show each issuer the tokens of the others.
        mistakes.append("Only one issuer can be asked about opaque tokens: set tokens to jwt for the others.")
    if len({one.identifier for one in introspectors}) < len(introspectors):
        mistakes.append("An issuer has several introspections.")
    if mistakes:
        raise ConfigError(mistakes)


def _renew_in_child(verifier: weakref.ref[TokenVerifier]) -> None:
    alive = verifier()
    if alive is not None:
        alive.renew_locks()
