from api.auth import Reason
from api.auth.config import is_quotable
from api.auth.reasons import DETAILS

# Labels of a metric, which dashboards and alerts name.
LABELS = {
    "no_credentials",
    "scheme_missing",
    "header_malformed",
    "several_methods",
    "body_unreadable",
    "too_long",
    "malformed",
    "critical_header",
    "algorithm",
    "token_type",
    "issuer",
    "key_unknown",
    "signature",
    "claim_missing",
    "claim_malformed",
    "audience",
    "expired",
    "not_yet_valid",
    "key_bound",
    "not_key_bound",
    "not_certificate_bound",
    "certificate_missing",
    "certificate_malformed",
    "certificate_mismatch",
    "dpop_header_malformed",
    "key_mismatch",
    "proof_missing",
    "proof_malformed",
    "proof_algorithm",
    "proof_key",
    "proof_signature",
    "proof_method",
    "proof_url",
    "proof_token",
    "proof_time",
    "proof_nonce",
    "proof_replayed",
    "proofs_too_many",
    "replays_unavailable",
    "revoked",
    "inactive",
    "scope",
    "claim_value",
    "authentication_too_old",
    "authentication_too_weak",
    "keys_unavailable",
    "introspection_unavailable",
}


def test_reasons_are_the_documented_labels() -> None:
    assert {str(reason) for reason in Reason} == LABELS


def test_every_reason_has_a_sentence_of_its_own_that_fits_a_challenge() -> None:
    assert DETAILS.keys() == set(Reason)
    assert len(set(DETAILS.values())) == len(Reason)
    assert all(is_quotable(detail) and detail.endswith(".") for detail in DETAILS.values())
