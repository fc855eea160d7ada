"""`Introspector`: asks an issuer about tokens, and remembers its answers.

Limits, proxies and TLS of a request are those of keys/fetch.py.
"""

import base64
import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode

from cachetools import LRUCache

from ..claims import AccessToken
from ..config import TrustedIssuer
from ..errors import IntrospectionUnavailable, InvalidToken
from ..events import AuthEvents
from ..keys.back_off import BackOff
from ..keys.discovery import DiscoveryError, discover, seconds_until
from ..keys.fetch import Fetch, FetchError, Form, post
from ..unverified_token import is_b64token, parse_payload, split
from .answer import Answer, Refusal, read_answer

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
# Answers that say that the issuer cannot answer anybody, or not us. Others may be due to the one token.
_STATUSES_OF_OUTAGES = frozenset({401, 403, 429, 502, 503, 504})
# The first two characters of JSON that begins with a brace, in base64url.
_JWT_BEGINS = ("ey", "ew")
_JWT_DOTS = 2
# In place of a token's SHA-256.
_CHECK = b"check"


@dataclass(slots=True, eq=False)
class _Question:
    """A question that a thread asks, and for whose answer requests wait; `answer` stays None if it fails."""

    finished: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None


class Introspector:
    """Asks one issuer about tokens, and remembers the answers. Thread-safe; usable in a forked process.

    Answers are remembered for 30 s, and not past the token's `exp`; refusals for 5 s. Requests with the same token ask
    once. At most four questions are asked at once, and one while the issuer is known to fail. A request waits 0.5 s for
    a place among them, and then 3 s at most; only four at once wait longer than 0.5 s for an answer.

    `takes_opaque` and `takes_jwt` say which tokens the issuer is asked about; `max_accepted` is how many answers about
    accepted tokens are remembered, 0 is none. `now` is a clock in seconds since 1970, `monotonic` one in seconds that
    never goes back. The other arguments are those of `Introspection` and `TokenVerifier`.
    """

    def __init__(
        self,
        issuer: TrustedIssuer,
        *,
        client_id: str,
        client_secret: str,
        endpoint: str | None,
        takes_opaque: bool,
        takes_jwt: bool,
        token_type_required: bool,
        max_accepted: int,
        events: AuthEvents,
        fetch: Fetch,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.identifier = issuer.identifier
        self.takes_opaque = takes_opaque
        self.takes_jwt = takes_jwt
        self._issuer = issuer
        self._authorization = _basic(client_id, client_secret)
        self._configured_endpoint = endpoint
        self._token_type_required = token_type_required
        self._max_accepted = max_accepted
        self._events = events
        self._fetch = fetch
        self._now = now
        self._monotonic = monotonic
        # From the issuer's metadata, with the time until which it is used.
        self._found_endpoint: tuple[str, float] | None = None
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
        self._refused: LRUCache[bytes, tuple[Refusal, float]] = LRUCache(_MAX_REFUSED)
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
        if isinstance(answer, Refusal):
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

    def _remembered(self, key: bytes) -> Answer | None:
        with self._lock:
            return self._look_up(key)

    def _look_up(self, key: bytes) -> Answer | None:
        """Return a remembered answer. The caller holds the lock."""
        found = self._accepted.get(key) or self._refused.get(key)
        return found[0] if found is not None and self._monotonic() < found[1] else None

    def _ask(self, key: bytes, unverified_token: str) -> Answer:
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
            answer = read_answer(
                self._post(unverified_token, deadline),
                self._issuer,
                token_type_required=self._token_type_required,
                # Without `exp`, it is valid until it is asked about again.
                otherwise_expires_at=int(now) + REMEMBERED_SECONDS,
            )
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
        if self._configured_endpoint is not None:
            return self._configured_endpoint
        known = self._found_endpoint
        if known is None or self._monotonic() >= known[1]:
            address = discover(self.identifier, "introspection_endpoint", self._fetch, deadline)
            known = self._found_endpoint = (address, self._monotonic() + _ENDPOINT_KEPT_SECONDS)
        return known[0]

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
            self._found_endpoint = None
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
        if isinstance(answer, Refusal):
            self._refused[key] = (answer, outcome.until)
        elif self._max_accepted:
            self._accepted[key] = (answer, outcome.until)


class _Outcome(NamedTuple):
    """An answer, and until when it is used; or, without one, the cause, and whether other questions fail too."""

    answer: Answer | None = None
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
