from mock_issuer.flow.access_tokens import AccessTokens
from mock_issuer.flow.dpop import Nonces, UsedProofs


def test_a_used_proof_is_known_until_it_is_too_old() -> None:
    proofs = UsedProofs()
    assert proofs.add("key", "one", now=0, until=60)
    assert not proofs.add("key", "one", now=59, until=120)
    assert proofs.add("other key", "one", now=59, until=120)
    assert proofs.add("key", "one", now=60, until=120)
    assert not proofs.add("key", "one", now=60, until=120)


def test_old_proofs_are_forgotten_and_recent_ones_kept() -> None:
    proofs = UsedProofs()
    for number in range(3_000):
        assert proofs.add("key", str(number), now=number, until=number + 10)
        assert len(proofs._ends) <= 1_000
    assert not any(proofs.add("key", str(number), now=2_999, until=9_999) for number in range(2_990, 3_000))
    proofs.clear()
    assert proofs.add("key", "2999", now=2_999, until=9_999)


def test_many_recent_proofs_are_all_kept() -> None:
    proofs = UsedProofs()
    assert all(proofs.add("key", str(number), now=0, until=10) for number in range(3_000))
    assert not any(proofs.add("key", str(number), now=0, until=10) for number in range(3_000))


def test_a_nonce_is_valid_for_5_to_10_minutes() -> None:
    nonces, start = Nonces(), 1_000 * 300
    nonce = nonces.current(now=start)
    assert nonces.current(now=start + 299) == nonce
    assert nonces.current(now=start + 300) != nonce
    assert [nonces.is_valid(nonce, now=start + seconds) for seconds in (0, 599)] == [True, True]
    assert [nonces.is_valid(nonce, now=start + seconds) for seconds in (-1, 600)] == [False, False]
    assert not Nonces().is_valid(nonce, now=start)
    assert not any(nonces.is_valid(unverified, now=start) for unverified in ("", "é", "\ud800", nonce + "A"))


def test_expired_opaque_tokens_are_forgotten() -> None:
    tokens = AccessTokens(60)
    issued = [tokens.issue_opaque({"jti": number}, expires_at=number + 60, now=number) for number in range(3_000)]
    assert len(tokens._opaque) <= 1_000
    assert tokens.read_opaque(issued[0]) is None
    assert [tokens.read_opaque(token) for token in issued[-60:]] == [{"jti": number} for number in range(2_940, 3_000)]
    assert tokens.read_opaque("\ud800") is None
