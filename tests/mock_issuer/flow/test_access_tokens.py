"""What the issuer remembers of opaque access tokens, and how long."""

from mock_issuer.flow.access_tokens import AccessTokens


def test_expired_tokens_are_forgotten_when_there_are_a_thousand() -> None:
    tokens = AccessTokens(lifetime_seconds=60)
    old = [tokens.issue_opaque({"sub": str(number)}, expires_at=10, now=0) for number in range(999)]
    young = tokens.issue_opaque({"sub": "young"}, expires_at=11, now=10)
    assert tokens.read_opaque(old[998]) == {"sub": "998"}  # whoever reads it checks its `exp`
    tokens.issue_opaque({}, expires_at=11, now=10)
    assert {tokens.read_opaque(token) is None for token in old} == {True}
    assert tokens.read_opaque(young) == {"sub": "young"}


def test_a_token_is_read_until_it_is_deleted_and_too_long_to_guess() -> None:
    tokens = AccessTokens(lifetime_seconds=60)
    one, other = (tokens.issue_opaque({"sub": name}, expires_at=60, now=0) for name in ("one", "other"))
    assert len(one) == len(other) == 43  # 256 bits in base64url
    tokens.delete_opaque(one)
    tokens.delete_opaque("unknown")
    assert (tokens.read_opaque(one), tokens.read_opaque(other)) == (None, {"sub": "other"})
    assert tokens.read_opaque("unknown") is None
    assert tokens.read_opaque("\ud800") is None  # no UTF-8
