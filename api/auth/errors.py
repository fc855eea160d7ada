"""A request is refused: `AuthError`, with its answer to the client: status, headers with the challenge, body.

No answer repeats anything of the request, such as a key id, a claim or a URL: a client gets the fixed sentence of the
reason. Logs and metrics get the reason itself, and the name of the claim where one is at fault.
"""

import copyreg
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol

from .reasons import DETAILS, Reason

# RFC 6750 §2.1, RFC 9449 §7.1.
Scheme = Literal["Bearer", "DPoP"]

UNAUTHORIZED = 401


class DPoPChallenge(Protocol):
    """What a challenge says about DPoP; the class `DPoP` of the folder `dpop` is one."""

    @property
    @abstractmethod
    def required(self) -> bool:
        """Return whether tokens that are not bound to a key by DPoP are refused."""

    @property
    @abstractmethod
    def algorithms(self) -> tuple[str, ...]:
        """Return the values of `alg` that proofs may have."""

    @abstractmethod
    def nonce(self) -> str | None:
        """Return the nonce that the next proof should have, None if proofs need none."""


class AuthError(Exception):
    """A request that is refused for its credentials, or because they could not be verified.

    `status` is the HTTP status of the answer, `error` its error code (RFC 6750 §3.1; None if it has none), `detail` a
    fixed sentence for the client. For the log: `reason` is the cause, `claim` the name of the claim at fault, which is
    one of this package's or of the configuration's, never the client's choice. `retry_after_seconds` is the time after
    which the same request may succeed, in whole seconds, at least 1 (RFC 9110 §10.2.3); None if it would not. `scheme`
    is what the request used; `takes_bearer` is false if the route requires DPoP.
    """

    status: ClassVar[int]
    error: ClassVar[str | None]
    scheme: Scheme = "Bearer"
    takes_bearer: bool = True

    def __init__(self, reason: Reason, *, claim: str | None = None, retry_after_seconds: int | None = None) -> None:
        super().__init__(f"{reason.value}: {claim}" if claim else reason.value)
        self.reason = reason
        self.claim = claim
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and unpickle this error: not through `__init__`, whose arguments are not `args`."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed

    @property
    def detail(self) -> str:
        """Return the sentence for the client: fixed, in ASCII."""
        return DETAILS[self.reason]

    def body(self) -> dict[str, str]:
        """Return the members of a JSON answer: `error`, unless no credentials came, and `error_description`.

        Also `scope`, the needed scopes, if the token lacks one.
        """
        code = {} if self.error is None else {"error": self.error}
        return {**code, "error_description": self.detail}

    def challenge(
        self, *, realm: str, resource_metadata: str | None = None, dpop: DPoPChallenge | None = None
    ) -> str | None:
        """Return the value of `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1), or None if the answer has none.

        `realm` and `resource_metadata` are put between quotes unescaped: the caller has checked them with
        `config.is_quotable`. With `dpop`, a 401 has a challenge for each scheme, that of the request first: it has the
        error (RFC 9449 §7.1 and §7.2).
        """
        challenges = []
        for position, scheme in enumerate(self._schemes(dpop)):
            # Without an error, the parameters say what the route needs: that is the same for each scheme.
            of_error = self._parameters() if position == 0 or self.error is None else {}
            parameters = {"realm": realm, **of_error}
            if resource_metadata is not None:
                parameters["resource_metadata"] = resource_metadata
            if scheme == "DPoP" and dpop is not None:
                parameters["algs"] = " ".join(dpop.algorithms)
            challenges.append(f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in parameters.items()))
        return ", ".join(challenges) or None

    def _schemes(self, dpop: DPoPChallenge | None) -> Iterator[Scheme]:
        """Yield the schemes of the challenges, the one with the error first."""
        if dpop is None:
            yield "Bearer"
        elif dpop.required or not self.takes_bearer:
            yield "DPoP"
        else:
            yield self.scheme
            if self.status == UNAUTHORIZED:
                yield "DPoP" if self.scheme == "Bearer" else "Bearer"

    def headers(
        self, *, realm: str, resource_metadata: str | None = None, dpop: DPoPChallenge | None = None
    ) -> dict[str, str]:
        """Return the headers of the answer: `WWW-Authenticate` and `Retry-After` if it has them, and `Cache-Control`.

        Also `DPoP-Nonce`, with a challenge for DPoP, if proofs need a nonce (RFC 9449 §9). Arguments as in `challenge`.
        """
        headers = {"Cache-Control": "no-store"}
        challenge = self.challenge(realm=realm, resource_metadata=resource_metadata, dpop=dpop)
        if challenge is not None:
            headers["WWW-Authenticate"] = challenge
            if dpop is not None and self.status == UNAUTHORIZED and (nonce := dpop.nonce()) is not None:
                headers["DPoP-Nonce"] = nonce
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        return headers

    def _parameters(self) -> dict[str, str]:
        if self.error is None:
            return {}
        return {"error": self.error, "error_description": self.detail}


class MissingCredentials(AuthError):
    """The request has no bearer token: 401, with a challenge without an error code (RFC 6750 §3.1).

    The challenge names the scopes `required`, so that a client can ask for the right ones at once (RFC 6750 §3).
    `reason` is `SCHEME_MISSING` if the header seems to be a token without the word Bearer.
    """

    status = 401
    error = None

    def __init__(self, required: tuple[str, ...] = (), reason: Reason = Reason.NO_CREDENTIALS) -> None:
        super().__init__(reason)
        self.required = required

    def _parameters(self) -> dict[str, str]:
        return _scope(self.required)


class InvalidRequest(AuthError):
    """The credentials are malformed, or sent by two methods: 400 (RFC 6750 §2 and §3.1)."""

    status = 400
    error = "invalid_request"


class InvalidToken(AuthError):
    """The token is malformed, expired, revoked, or otherwise not valid here: 401 (RFC 6750 §3.1)."""

    status = 401
    error = "invalid_token"


class InvalidDPoPProof(AuthError):
    """The proof of a token that is bound to a key is missing, malformed, for another request, or used: 401.

    RFC 9449 §7.1, with the checks of §4.3.
    """

    status = 401
    error = "invalid_dpop_proof"


class UseDPoPNonce(InvalidDPoPProof):
    """The proof lacks the nonce of the API, or has an old one: 401, with the nonce to use (RFC 9449 §9)."""

    error = "use_dpop_nonce"

    def __init__(self) -> None:
        super().__init__(Reason.PROOF_NONCE, claim="nonce")


class InsufficientScope(AuthError):
    """The token is valid, but lacks what the route needs: 403, with the needed scopes `required` (RFC 6750 §3.1)."""

    status = 403
    error = "insufficient_scope"

    def __init__(self, required: tuple[str, ...], reason: Reason = Reason.SCOPE, *, claim: str | None = None) -> None:
        super().__init__(reason, claim=claim)
        self.required = required

    def body(self) -> dict[str, str]:
        """Return the members of a JSON answer: `error`, `error_description`, and `scope`, unless it needs none."""
        return {**super().body(), **_scope(self.required)}

    def _parameters(self) -> dict[str, str]:
        return {**super()._parameters(), **_scope(self.required)}


class InsufficientUserAuthentication(AuthError):
    """The user's login is too old or too weak for the route: 401, with what the route needs (RFC 9470 §3).

    `max_age` is in seconds; `acr_values` are in order of preference.
    """

    status = 401
    error = "insufficient_user_authentication"

    def __init__(
        self, reason: Reason, *, max_age: int | None, acr_values: tuple[str, ...], claim: str | None = None
    ) -> None:
        super().__init__(reason, claim=claim)
        self.max_age = max_age
        self.acr_values = acr_values

    def _parameters(self) -> dict[str, str]:
        parameters = super()._parameters()
        if self.acr_values:
            parameters["acr_values"] = " ".join(self.acr_values)
        if self.max_age is not None:
            parameters["max_age"] = str(self.max_age)
        return parameters


class TemporarilyUnavailable(AuthError):
    """The token cannot be judged now, through no fault of the client: 503, without a challenge."""

    status = 503
    error = "temporarily_unavailable"

    def _schemes(self, dpop: DPoPChallenge | None) -> Iterator[Scheme]:
        """Yield nothing: a challenge asks the client for other credentials, which would not help."""
        yield from ()


class KeysUnavailable(TemporarilyUnavailable):
    """The issuer's keys cannot be fetched, so the token could not be verified: 503, without a challenge.

    `retry_after_seconds` is the time until the next fetch.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(Reason.KEYS_UNAVAILABLE, retry_after_seconds=retry_after_seconds)


class ReplaysUnavailable(TemporarilyUnavailable):
    """Whether a DPoP proof was used before cannot be found out, so it is not accepted: 503, without a challenge.

    `retry_after_seconds` is the time until the memory of used proofs is tried again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(Reason.REPLAYS_UNAVAILABLE, retry_after_seconds=retry_after_seconds)


class IntrospectionUnavailable(TemporarilyUnavailable):
    """The issuer does not answer questions about tokens (RFC 7662): 503, without a challenge.

    `retry_after_seconds` is the time until it may be asked again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(Reason.INTROSPECTION_UNAVAILABLE, retry_after_seconds=retry_after_seconds)


def _scope(required: tuple[str, ...]) -> dict[str, str]:
    return {"scope": " ".join(required)} if required else {}
