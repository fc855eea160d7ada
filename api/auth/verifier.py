"""Token string → AccessToken. No web framework here: what verifies is usable from any."""

import hashlib
import threading
import time
from collections.abc import Callable

from cachetools import LRUCache

from .claims import AccessToken, read_claims
from .config import AuthConfig
from .errors import AuthError, AuthEvents, InvalidToken, Reason
from .fetch import Fetch, fetch
from .key_cache import KeyCache
from .keys import KeySet
from .requirement import Requirement
from .unverified_token import MAX_TOKEN_CHARS, UnverifiedHeader, parse_header, parse_payload, split

# A token whose signature held, and the key set under which it did: with another set it has to be verified anew.
VerifiedToken = tuple[AccessToken, KeySet]


class TokenCache:
    """Remembers up to `size` verified tokens, the least recently used forgotten first; thread-safe.

    Tokens themselves are not kept, only their digests. Does not look at a token's times: whoever gets one does.
    """

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[bytes, VerifiedToken] = LRUCache(size)
        # Held for microseconds.
        self._lock = threading.Lock()

    @staticmethod
    def key(unverified_token: str) -> bytes:
        """Return what a token is remembered by. Raises UnicodeEncodeError for a lone surrogate."""
        return hashlib.sha256(unverified_token.encode()).digest()

    def get(self, key: bytes) -> VerifiedToken | None:
        """Return what is remembered under `key`, if anything is."""
        with self._lock:
            try:
                return self._entries[key]
            except KeyError:
                return None

    def put(self, key: bytes, verified: VerifiedToken) -> None:
        """Remember a token whose signature and claims have been verified."""
        with self._lock:
            self._entries[key] = verified

    def forget(self, key: bytes) -> None:
        """Remember nothing under `key`."""
        with self._lock:
            self._entries.pop(key, None)


# A header segment is the same for every token of one key; issuers have a few keys each.
_MAX_HEADERS = 64
ANY_VALID_TOKEN = Requirement()


class TokenVerifier:
    """Verifies bearer tokens against the keys that their issuers publish. Thread-safe; usable in a forked process.

    Asks no issuer before the first token comes. `events` hears every outcome. `is_revoked` is asked about each token
    that is otherwise good, remembered ones too; the default revokes none. `now` is a clock in seconds since 1970,
    `monotonic` one that never goes back.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        events: AuthEvents | None = None,
        is_revoked: Callable[[AccessToken], bool] | None = None,
        fetch: Fetch = fetch,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.events = events or AuthEvents()
        self._is_revoked = is_revoked
        self._now = now
        self._issuers = {issuer.identifier: issuer for issuer in config.issuers}
        self._keys = {
            issuer.identifier: KeyCache(issuer, config, events=self.events, fetch=fetch, monotonic=monotonic)
            for issuer in config.issuers
        }
        self._algorithms = frozenset(config.algorithms)
        self._token_types = frozenset(name.lower() for name in config.token_types)
        self._headers: dict[bytes, UnverifiedHeader] = {}
        self._cache = TokenCache(config.token_cache_size) if config.token_cache_size else None

    def verify(self, unverified_token: str, requirement: Requirement = ANY_VALID_TOKEN) -> AccessToken:
        """Return what `unverified_token` says, all of it verified (RFC 7519 §7.2, RFC 8725, RFC 9068 §4).

        Checks form, algorithm, type, issuer, signature, times, audience, revocation, and then what `requirement` asks.
        Does *not* ask the issuer about the token: whether the session behind it still lives, it does not know.

        Raises InvalidToken; InsufficientScope or InsufficientUserAuthentication where a good token does not meet the
        requirement; KeysUnavailable where the token could not be judged.
        """
        from_cache = False
        try:
            if self._cache is None:
                token, _ = self._verify_signature(unverified_token)
            else:
                token, from_cache = self._remembered_or_verified(self._cache, unverified_token)
            now, leeway_seconds = self._now(), self.config.leeway_seconds
            token.check_audience(requirement.audiences or self._issuers[token.issuer].audiences)
            token.check_times(now, leeway_seconds)
            if self._is_revoked is not None and self._is_revoked(token):
                raise InvalidToken(Reason.REVOKED)
            if requirement is not ANY_VALID_TOKEN:
                requirement.check(token, now, leeway_seconds)
        except AuthError as refusal:
            self.events.token_refused(refusal.reason)
            raise
        self.events.token_accepted(from_cache=from_cache)
        return token

    def readiness(self) -> dict[str, bool]:
        """Say of each issuer whether its tokens can be judged, waiting for a first fetch for 3 s at most."""
        return {identifier: keys.is_ready() for identifier, keys in self._keys.items()}

    def _remembered_or_verified(self, cache: TokenCache, unverified_token: str) -> tuple[AccessToken, bool]:
        """Return the token behind a signature that holds, and whether it was remembered."""
        # Before anything is computed over it: the length is the caller's choice.
        if len(unverified_token) > MAX_TOKEN_CHARS:
            raise InvalidToken(Reason.TOO_LONG)
        if not unverified_token.isascii():
            raise InvalidToken(Reason.MALFORMED)
        key = cache.key(unverified_token)
        remembered = cache.get(key)
        if remembered is not None:
            token, keys = remembered
            if keys is self._keys[token.issuer].usable_keys():
                return token, True
            cache.forget(key)
        verified = self._verify_signature(unverified_token)
        cache.put(key, verified)
        return verified[0], False

    def _verify_signature(self, unverified_token: str) -> VerifiedToken:
        """Return the token behind a signature that holds. Its times and its audience are not checked."""
        header_segment, payload_segment, signing_input, signature = split(unverified_token)
        known_header = self._headers.get(header_segment)
        header = known_header or parse_header(
            header_segment, algorithms=self._algorithms, token_types=self._token_types
        )
        unverified_payload, payload_json = parse_payload(payload_segment)
        # The issuer picks the keys, so it is read before the signature is verified; only an exact match goes on.
        unverified_issuer = unverified_payload.get("iss")
        if type(unverified_issuer) is not str or unverified_issuer not in self._keys:
            raise InvalidToken(Reason.ISSUER)
        key, keys = self._keys[unverified_issuer].find(header)
        if not key.verifies(signing_input, signature):
            raise InvalidToken(Reason.SIGNATURE)
        # From here on the payload is the issuer's word, and the header may be remembered.
        if known_header is None:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            self._headers[header_segment] = header
        return read_claims(unverified_payload, payload_json, unverified_issuer, self.config.scope_claims), keys
