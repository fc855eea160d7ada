"""Why a request is refused: `AuthError`, with its answer to the client.

A client gets one of the fixed sentences below: no answer repeats anything of the request, such as a key id, a claim or
a URL. Logs and metrics get the `Reason`, and the name of the claim where one is at fault.
"""

import copyreg
from abc import abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol

# RFC 6750 §2.1, RFC 9449 §7.1.
Scheme = Literal["Bearer", "DPoP"]


UNAUTHORIZED = 401


class Reason(StrEnum):
    """Why credentials were refused. A fixed set without anything of the request: safe in logs and as a metric label."""

    NO_CREDENTIALS = "no_credentials"
    SCHEME_MISSING = "scheme_missing"
    HEADER_MALFORMED = "header_malformed"
    DPOP_HEADER_MALFORMED = "dpop_header_malformed"
    SEVERAL_METHODS = "several_methods"
    BODY_UNREADABLE = "body_unreadable"

    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    CRITICAL_HEADER = "critical_header"
    ALGORITHM = "algorithm"
    TOKEN_TYPE = "token_type"
    ISSUER = "issuer"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE = "signature"
    CLAIM_MISSING = "claim_missing"
    CLAIM_MALFORMED = "claim_malformed"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    KEY_BOUND = "key_bound"
    NOT_KEY_BOUND = "not_key_bound"
    NOT_CERTIFICATE_BOUND = "not_certificate_bound"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_MALFORMED = "certificate_malformed"
    CERTIFICATE_MISMATCH = "certificate_mismatch"
    KEY_MISMATCH = "key_mismatch"
    REVOKED = "revoked"
    INACTIVE = "inactive"

    PROOF_MISSING = "proof_missing"
    PROOF_MALFORMED = "proof_malformed"
    PROOF_ALGORITHM = "proof_algorithm"
    PROOF_KEY = "proof_key"
    PROOF_SIGNATURE = "proof_signature"
    PROOF_METHOD = "proof_method"
    PROOF_URL = "proof_url"
    PROOF_TOKEN = "proof_token"
    PROOF_TIME = "proof_time"
    PROOF_NONCE = "proof_nonce"
    PROOF_REPLAYED = "proof_replayed"
    PROOFS_TOO_MANY = "proofs_too_many"
    REPLAYS_UNAVAILABLE = "replays_unavailable"

    SCOPE = "scope"
    CLAIM_VALUE = "claim_value"
    AUTHENTICATION_TOO_OLD = "authentication_too_old"
    AUTHENTICATION_TOO_WEAK = "authentication_too_weak"
    KEYS_UNAVAILABLE = "keys_unavailable"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"


_DETAILS = {
    Reason.NO_CREDENTIALS: "This needs an access token in the Authorization header.",
    Reason.SCHEME_MISSING: "The word Bearer is missing before the token in the Authorization header.",
    Reason.HEADER_MALFORMED: "The Authorization header must be the word Bearer, one space and one token.",
    Reason.DPOP_HEADER_MALFORMED: "The Authorization header must be the word DPoP, one space and one token.",
    Reason.SEVERAL_METHODS: "The access token must be sent once, in the Authorization header.",
    Reason.BODY_UNREADABLE: "The body of the request cannot be read.",
    Reason.TOO_LONG: "The access token is longer than this API reads.",
    Reason.MALFORMED: "The access token is not a well-formed JWT.",
    Reason.CRITICAL_HEADER: "The access token demands an extension that this API does not have.",
    Reason.ALGORITHM: "The access token is signed with an algorithm that this API does not accept.",
    Reason.TOKEN_TYPE: "This token is not an access token.",
    Reason.ISSUER: "The access token comes from an issuer that this API does not trust.",
    Reason.KEY_UNKNOWN: "The access token is signed with a key that this API does not know.",
    Reason.SIGNATURE: "The signature of the access token does not match.",
    Reason.CLAIM_MISSING: "The access token lacks a claim that this API needs.",
    Reason.CLAIM_MALFORMED: "A claim of the access token has a wrong form.",
    Reason.AUDIENCE: "The access token is meant for another API.",
    Reason.EXPIRED: "The access token has expired.",
    Reason.NOT_YET_VALID: "The access token is not valid yet.",
    Reason.KEY_BOUND: "The access token is bound to a key, and its use needs a proof.",
    Reason.NOT_KEY_BOUND: "This needs an access token that is bound to a key by DPoP.",
    Reason.NOT_CERTIFICATE_BOUND: "This needs an access token that is bound to a client certificate.",
    Reason.CERTIFICATE_MISSING: "The access token is bound to a client certificate, and none came with it.",
    Reason.CERTIFICATE_MALFORMED: "The client certificate cannot be read.",
    Reason.CERTIFICATE_MISMATCH: "The access token is bound to another client certificate.",
    Reason.KEY_MISMATCH: "The access token is bound to another key than that of the DPoP proof.",
    Reason.REVOKED: "The access token has been revoked.",
    Reason.INACTIVE: "The issuer says that the access token is not valid.",
    Reason.PROOF_MISSING: "This needs a DPoP proof in the DPoP header.",
    Reason.PROOF_MALFORMED: "The DPoP header must be one well-formed DPoP proof.",
    Reason.PROOF_ALGORITHM: "The DPoP proof is signed with an algorithm that this API does not accept.",
    Reason.PROOF_KEY: "The DPoP proof has no public key that this API accepts.",
    Reason.PROOF_SIGNATURE: "The signature of the DPoP proof does not match.",
    Reason.PROOF_METHOD: "The DPoP proof is for another method: htm differs.",
    Reason.PROOF_URL: "The DPoP proof is for another address: htu differs.",
    Reason.PROOF_TOKEN: "The DPoP proof is for another access token: ath differs.",
    Reason.PROOF_TIME: "The DPoP proof is too old, or the clock of the device is wrong: see iat.",
    Reason.PROOF_NONCE: "The DPoP proof needs the nonce of the DPoP-Nonce header.",
    Reason.PROOF_REPLAYED: "The DPoP proof has been used already: each request needs one of its own.",
    Reason.PROOFS_TOO_MANY: "Too many DPoP proofs of this key within a short time.",
    Reason.REPLAYS_UNAVAILABLE: "Whether the DPoP proof has been used cannot be found out at the moment.",
    Reason.SCOPE: "The access token lacks a scope that this needs.",
    Reason.CLAIM_VALUE: "The access token does not grant what this needs.",
    Reason.AUTHENTICATION_TOO_OLD: "This needs a more recent login.",
    Reason.AUTHENTICATION_TOO_WEAK: "This needs a stronger login.",
    Reason.KEYS_UNAVAILABLE: "The keys to judge the access token cannot be had at the moment.",
    Reason.INTROSPECTION_UNAVAILABLE: "The issuer cannot be asked about the access token at the moment.",
}


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
        return _DETAILS[self.reason]

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
