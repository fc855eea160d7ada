"""Ask the issuer what a token is worth (RFC 7662), for opaque tokens. Nothing else needs this module.

`Introspection` says whom to ask; `TokenVerifier` takes it, and makes an `Introspector` of it. Limits, proxies and TLS
are those of keys/fetch.py.
"""

import base64
import contextlib
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote_plus, urlencode

from cachetools import LRUCache

from .claims import AccessToken, read_claims
from .config import (
    AuthConfig,
    ConfigError,
    TrustedIssuer,
    is_secure_url,
    without_credentials,
)
from .errors import IntrospectionUnavailable, InvalidToken
from .events import AuthEvents
from .keys.back_off import BackOff
from .keys.discovery import DiscoveryError, discover, seconds_until
from .keys.fetch import Fetch, FetchError, Form, post
from .reasons import Reason
from .strict_json import parse_object
from .unverified_token import is_b64token, parse_payload, split

# A token that its issuer revoked is accepted for so long at most.
REMEMBERED_SECONDS = 30
# A client that repeats a bad token asks once in this time.
REFUSED_SECONDS = 5
# Of refused tokens, which are the client's choice. Accepted ones have a memory of their own.
_MAX_REFUSED = 1_000
# For metadata and answer together; also the longest that a request waits.
ANSWER_SECONDS = 3.0
# Questions to one issuer at once: garbage tokens, each another one, must not flood it.
MAX_QUESTIONS = 4
# A healthy issuer answers within this time, and to wait for a free place takes no longer. Of the requests that wait
# longer, only so many may go on: an issuer that hangs would otherwise occupy all threads of the server.
PATIENCE_SECONDS = 0.5
MAX_PATIENT = 4
_ENDPOINT_KEPT_SECONDS = 600
# Answers repeat claims, and some issuers add the permissions of the user.
_MAX_ANSWER_DEPTH = 10
# RFC 7662 §2.2: the type of RFC 6749 §5.1. Hydra before 2.0 says `access_token`.
_ACCESS_TOKEN_TYPES = frozenset({"bearer", "dpop", "access_token"})
# Keycloak's name for the kind of token.
_ACCESS_TYPES = ("Bearer", "DPoP")
# That of Cognito and Hydra.
_ACCESS_USES = ("access", "access_token")
# Answers that say that the issuer cannot answer anybody, or not us. Others may be due to the one token.
_STATUSES_OF_OUTAGES = frozenset({401, 403, 429, 502, 503, 504})
# The first two characters of JSON that begins with a brace, in base64url.
_JWT_BEGINS = ("ey", "ew")
_JWT_DOTS = 2
# In place of a token's SHA-256.
_CHECK = b"check"

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
    ) -> "Introspector":
        """Return what asks; a `TokenVerifier` calls this with its own arguments. Raises ConfigError."""
        return Introspector(self, config, events=events, fetch=fetch, now=now, monotonic=monotonic)


class _Refusal(NamedTuple):
    """Why a token is refused; an exception that is raised again would keep the frames of each request."""

    reason: Reason
    claim: str | None


_Answer = AccessToken | _Refusal


@dataclass(slots=True, eq=False)
class _Question:
    """A question that a thread asks, and for whose answer requests wait; `answer` stays None if it fails."""

    finished: threading.Event = field(default_factory=threading.Event)
    answer: _Answer | None = None


class Introspector:
    """Asks one issuer about tokens, and remembers the answers. Thread-safe; usable in a forked process.

    Answers are remembered for 30 s, and not past the token's `exp`; refusals for 5 s. Requests with the same token ask
    once. At most four questions are asked at once, and one while the issuer is known to fail. A request waits 0.5 s for
    a place among them, and then 3 s at most; only four at once wait longer than 0.5 s for an answer. `now` is a clock
    in seconds since 1970, `monotonic` one in seconds that never goes back.
    """

    def __init__(
        self,
        introspection: Introspection,
        config: AuthConfig,
        *,
        events: AuthEvents,
        fetch: Fetch,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._issuer = introspection.issuer_of(config)
        self.identifier = self._issuer.identifier
        self.takes_opaque = introspection.tokens != "jwt"
        self.takes_jwt = introspection.tokens != "opaque"
        self._introspection = introspection
        self._authorization = _basic(introspection.client_id, introspection.client_secret)
        self._events = events
        self._fetch = fetch
        self._now = now
        self._monotonic = monotonic
        self._max_accepted = config.token_cache_size
        self._endpoint: tuple[str, float] | None = None
        self.renew_locks()

    def renew_locks(self) -> None:
        """Forget the answers and replace the locks, in a forked child: a thread of the parent may hold them."""
        # Held for microseconds, never during I/O, a wait or a callback.
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MAX_QUESTIONS)
        self._patient = threading.Semaphore(MAX_PATIENT)
        self._questions: dict[bytes, _Question] = {}
        # Each answer with the time until which it is used.
        self._accepted: LRUCache[bytes, tuple[AccessToken, float]] = LRUCache(self._max_accepted)
        self._refused: LRUCache[bytes, tuple[_Refusal, float]] = LRUCache(_MAX_REFUSED)
        self._back_off = BackOff()
        self._is_answering = False

    def takes(self, unverified_token: str) -> bool:
        """Return whether the issuer is asked about this token: by its form, and the `iss` of a JWT.

        Raises InvalidToken for a malformed JWT.
        """
        if not _is_jwt(unverified_token):
            return self.takes_opaque and is_b64token(unverified_token)
        if not self.takes_jwt:
            return False
        unverified_payload, _ = parse_payload(split(unverified_token)[1])
        return unverified_payload.get("iss") == self.identifier

    def find(self, key: bytes, unverified_token: str) -> tuple[AccessToken, bool] | None:
        """Return the token that the issuer describes, and whether its answer was remembered; None for others' tokens.

        `key` is the SHA-256 of the token, which has 8,000 characters at most; the caller has checked it. Does not check
        times, audience and revocation.

        Raises InvalidToken if the token is not active, no access token, or lacks what the issuer's rules require;
        IntrospectionUnavailable if the issuer does not answer.
        """
        # First, so that other issuers' JWTs cost nothing here.
        if not self.takes_jwt and _is_jwt(unverified_token):
            return None
        answer = self._remembered(key)
        is_remembered = answer is not None
        if answer is None:
            if not self.takes(unverified_token):
                return None
            answer = self._ask(key, unverified_token)
        if isinstance(answer, _Refusal):
            raise InvalidToken(answer.reason, claim=answer.claim)
        return answer, is_remembered

    def start_check(self) -> None:
        """Ask about a token that nobody has, unless the last question was answered. Does not wait for the answer."""
        if not self._is_answering:
            with contextlib.suppress(IntrospectionUnavailable):
                self._join(_CHECK, "a-token-that-nobody-has")

    def is_ready(self) -> bool:
        """Return whether the issuer answers, after waiting 3 s at most if the last question was not answered."""
        if not self._is_answering:
            with contextlib.suppress(IntrospectionUnavailable):
                self._join(_CHECK, "a-token-that-nobody-has").finished.wait(ANSWER_SECONDS)
        return self._is_answering

    def _remembered(self, key: bytes) -> _Answer | None:
        with self._lock:
            return self._look_up(key)

    def _look_up(self, key: bytes) -> _Answer | None:
        """Return a remembered answer. The caller holds the lock."""
        found = self._accepted.get(key) or self._refused.get(key)
        return found[0] if found is not None and self._monotonic() < found[1] else None

    def _ask(self, key: bytes, unverified_token: str) -> _Answer:
        """Return the answer to a question that this call asks, or that is being asked."""
        deadline = time.monotonic() + ANSWER_SECONDS
        question = self._join(key, unverified_token)
        if not question.finished.wait(PATIENCE_SECONDS):
            patient = self._patient
            if not patient.acquire(blocking=False):
                raise IntrospectionUnavailable(1)
            try:
                question.finished.wait(max(deadline - time.monotonic(), 0))
            finally:
                patient.release()
        if question.answer is None:
            raise self._unavailable()
        return question.answer

    def _unavailable(self) -> IntrospectionUnavailable:
        return IntrospectionUnavailable(math.ceil(max(1.0, self._back_off.retry_at - self._monotonic())))

    def _join(self, key: bytes, unverified_token: str) -> _Question:
        """Return the question about this token that is being asked, or a new one."""
        with self._lock:
            question = self._questions.get(key)
        if question is not None:
            return question
        now = self._monotonic()
        # While the issuer is known to fail, one request finds out whether it still does.
        if now < self._back_off.retry_at or (self._questions and now < self._back_off.failure_known_until):
            raise self._unavailable()
        places = self._places
        if not places.acquire(timeout=PATIENCE_SECONDS):
            raise IntrospectionUnavailable(1)
        question, is_new = self._add_question(key)
        if not is_new:
            places.release()
            return question
        arguments = (key, unverified_token, question, places)
        try:
            threading.Thread(target=self._run, args=arguments, name="introspection", daemon=True).start()
        except RuntimeError:  # the operating system refuses another thread
            self._finish(key, question, places, _Outcome(cause="no thread could be started"))
        return question

    def _add_question(self, key: bytes) -> tuple[_Question, bool]:
        """Return a question and whether it is new: during the wait for a place, another may have been asked."""
        with self._lock:
            question = self._questions.get(key)
            if question is not None:
                return question, False
            question = _Question(answer=self._look_up(key))
            if question.answer is None:
                self._questions[key] = question
                return question, True
        question.finished.set()
        return question, False

    def _run(self, key: bytes, unverified_token: str, question: _Question, places: threading.Semaphore) -> None:
        outcome = _Outcome(cause="an unexpected error")
        deadline, asked_at, now = time.monotonic() + ANSWER_SECONDS, self._monotonic(), self._now()
        try:
            answer = self._read(self._post(unverified_token, deadline), now)
            seconds: float = REFUSED_SECONDS
            if isinstance(answer, AccessToken):
                seconds = min(REMEMBERED_SECONDS, answer.expires_at - now)
            outcome = _Outcome(answer, asked_at + seconds)
        except FetchError as exc:
            is_ours = exc.status in (401, 403)
            cause = "the issuer refuses the credentials of this API" if is_ours else str(exc)
            outcome = _Outcome(cause=cause, is_outage=exc.status is None or exc.status in _STATUSES_OF_OUTAGES)
        except DiscoveryError as exc:
            outcome = _Outcome(cause=str(exc))
        except ValueError:
            outcome = _Outcome(cause="the answer is malformed", is_outage=False)
        finally:
            self._finish(key, question, places, outcome)

    def _post(self, unverified_token: str, deadline: float) -> bytes:
        """Return the answer of the introspection endpoint. Raises FetchError or DiscoveryError."""
        parameters = urlencode({"token": unverified_token, "token_type_hint": "access_token"}).encode()
        return post(self._address(deadline), Form(parameters, self._authorization), seconds_until(deadline)).body

    def _address(self, deadline: float) -> str:
        if self._introspection.endpoint is not None:
            return self._introspection.endpoint
        known = self._endpoint
        if known is None or self._monotonic() >= known[1]:
            address = discover(self.identifier, "introspection_endpoint", self._fetch, deadline)
            known = self._endpoint = (address, self._monotonic() + _ENDPOINT_KEPT_SECONDS)
        return known[0]

    def _read(self, unverified_answer: bytes, now: float) -> _Answer:
        """Return what an answer says (RFC 7662 §2.2). Raises ValueError if it is malformed."""
        answer = parse_object(unverified_answer, max_depth=_MAX_ANSWER_DEPTH)
        match answer.pop("active", None):
            case True:
                pass
            case False:
                return _Refusal(Reason.INACTIVE, None)
            case _:
                raise ValueError("active is neither true nor false")
        try:
            _require_issuer(answer, self.identifier)
            _require_access_token(answer, is_type_required=self._introspection.token_type_required)
            # Without `exp`, it is valid until it is asked about again.
            answer.setdefault("exp", int(now) + REMEMBERED_SECONDS)
            return read_claims(answer, json.dumps(answer, allow_nan=False).encode(), self._issuer)
        except InvalidToken as refusal:
            return _Refusal(refusal.reason, refusal.claim)

    def _finish(self, key: bytes, question: _Question, places: threading.Semaphore, outcome: "_Outcome") -> None:
        with self._lock:
            self._take(key, outcome)
            question.answer = outcome.answer
            self._questions.pop(key, None)
        try:
            # First, so that the log and the metrics have it when a request goes on.
            if outcome.answer is None:
                self._events.introspection_failed(self.identifier, outcome.cause)
            else:
                self._events.introspection_answered(self.identifier)
        finally:
            places.release()
            question.finished.set()

    def _take(self, key: bytes, outcome: "_Outcome") -> None:
        """Remember an answer or an outage. The caller holds the lock."""
        answer, now = outcome.answer, self._monotonic()
        if answer is None:
            self._endpoint = None
            if outcome.is_outage:
                self._is_answering = False
                # Those that were asked at the same time are one failure.
                if now >= self._back_off.retry_at:
                    self._back_off.fail(now)
            return
        self._is_answering = True
        self._back_off.reset()
        # The last answer may have been the other one.
        self._accepted.pop(key, None)
        self._refused.pop(key, None)
        if key == _CHECK or outcome.until <= now:
            return
        if isinstance(answer, _Refusal):
            self._refused[key] = (answer, outcome.until)
        elif self._max_accepted:
            self._accepted[key] = (answer, outcome.until)


class _Outcome(NamedTuple):
    """An answer, and until when it is used; or, without one, the cause, and whether other questions fail too."""

    answer: _Answer | None = None
    until: float = -math.inf
    cause: str = ""
    is_outage: bool = True


def _basic(client_id: str, client_secret: str) -> str:
    """Return client credentials in the Basic scheme, each form-encoded first (RFC 6749 §2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _is_jwt(unverified_token: str) -> bool:
    """Return whether a token has the form of a signed JWT: three segments, the first JSON. Decodes nothing."""
    return unverified_token.startswith(_JWT_BEGINS) and unverified_token.count(".") == _JWT_DOTS


def _require_issuer(answer: dict[str, Any], issuer: str) -> None:
    if answer.get("iss", issuer) != issuer:
        raise InvalidToken(Reason.ISSUER, claim="iss")


def _require_access_token(answer: dict[str, Any], *, is_type_required: bool) -> None:
    """Refuse what the answer calls another kind of token, or, if the type is required, does not call an access token.

    Removes Hydra's spelling of `token_use`, which `read_claims` would take for another kind.
    """
    token_type, use, typ = (answer.get(name) for name in ("token_type", "token_use", "typ"))
    kind = token_type.lower() if isinstance(token_type, str) else None
    if "token_type" in answer and kind not in _ACCESS_TOKEN_TYPES:
        raise InvalidToken(Reason.TOKEN_TYPE, claim="token_type")
    if is_type_required and kind is None and use not in _ACCESS_USES and typ not in _ACCESS_TYPES:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="token_type")
    # RFC 9449 §5: a token of this type is bound to a key. Without the key, it would pass for a bearer token.
    if (kind == "dpop" or typ == "DPoP") and "cnf" not in answer:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="cnf")
    if use == "access_token":
        answer["token_use"] = "access"
