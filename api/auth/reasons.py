"""The reasons of refusals, each with the fixed sentence that a client gets."""

from enum import StrEnum


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


# What a client is told.
DETAILS = {
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
