"""Who may use what: consents, refresh tokens, user codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mock_issuer.config import Client, Config, User
from mock_issuer.flow.records import (
    Access,
    CodeRedemption,
    CodeRefusal,
    CodeRequest,
    Decision,
    DeviceGrant,
    PollRefusal,
    Redemption,
    RefreshFamily,
    Script,
)
from mock_issuer.flow.state import State
from mock_issuer.flow.wrong_codes import TooManyWrongCodes, TooManyWrongLinks
from mock_issuer.rules import ExtraClaims

TV, HUB = Client(client_id="tv"), Client(client_id="hub")
WEB = Client(client_id="web", secret="s")
ALICE, BOB = Config().users[0], Config().users[1]
ACCESS = Access(audience="https://a.example", scopes=("read", "offline_access"))


@pytest.fixture
def state() -> State:
    return State(Config(clients=(TV, HUB)))


def started(state: State, client: Client = TV, access: Access = ACCESS, *, now: float = 0) -> DeviceGrant:
    return state.start_grant(client, access, address="127.0.0.1", now=now, key_thumbprint="")


def approved(state: State, grant: DeviceGrant, user: User = ALICE, *, now: float = 0) -> DeviceGrant:
    assert state.approve(grant, user=user, auth_time=0, claims=ExtraClaims(), now=now)
    return grant


def polled(
    state: State, grant: DeviceGrant, client: Client = TV, *, now: float = 0, key: str = ""
) -> Redemption | PollRefusal:
    return state.poll(grant.device_code, client, now=now, key_thumbprint=key)


def refreshed(state: State, token: str, client: Client = TV, *, now: float = 0, key: str = "") -> str | None:
    return state.use_refresh_token(token, client, address="", now=now, key_thumbprint=key)


def linked(state: State, client: Client = TV, user: User = ALICE) -> str:
    """Run the flow, and return the refresh token."""
    redemption = polled(state, approved(state, started(state, client), user), client)
    assert isinstance(redemption, Redemption)
    assert redemption.refresh_token is not None
    return redemption.refresh_token


def family_of(state: State, refresh_token: str | None, client: Client = TV) -> RefreshFamily:
    family = state.find_family(refresh_token or "", client, now=0)
    assert family is not None
    return family


def test_a_consent_is_of_one_user_one_client_one_api_and_the_granted_scopes(state: State) -> None:
    grant = approved(state, started(state))
    assert state.has_consent(ALICE.sub, grant)
    assert state.has_consent(ALICE.sub, replace(grant, access=replace(ACCESS, scopes=("read",))))
    assert not state.has_consent(BOB.sub, grant)
    assert not state.has_consent(ALICE.sub, replace(grant, client_id="hub"))
    assert not state.has_consent(ALICE.sub, replace(grant, access=replace(ACCESS, audience="https://b.example")))
    assert not state.has_consent(ALICE.sub, replace(grant, access=replace(ACCESS, scopes=("read", "write"))))
    assert not state.has_consent("", grant)


def test_consents_add_up(state: State) -> None:
    for scope in ("read", "write"):
        approved(state, started(state, access=replace(ACCESS, scopes=(scope,))))
    both = started(state, access=replace(ACCESS, scopes=("read", "write")))
    assert state.has_consent(ALICE.sub, both)


def test_without_an_approval_there_is_no_consent(state: State) -> None:
    grant = started(state)
    assert not state.has_consent(ALICE.sub, grant)
    assert state.deny(grant, now=0)
    assert not state.has_consent(ALICE.sub, grant)


def test_a_request_is_redeemed_by_its_client_once(state: State) -> None:
    grant = approved(state, started(state))
    assert polled(state, grant, HUB) is PollRefusal.UNKNOWN
    assert isinstance(polled(state, grant), Redemption)
    assert polled(state, grant) is PollRefusal.UNKNOWN
    assert state.poll("", TV, now=0, key_thumbprint="") is PollRefusal.UNKNOWN


def test_without_offline_access_there_is_no_refresh_token(state: State) -> None:
    grant = approved(state, started(state, access=replace(ACCESS, scopes=("read",))))
    redemption = polled(state, grant)
    assert isinstance(redemption, Redemption)
    assert redemption.refresh_token is None
    assert state.find_families(ALICE, now=0) == ()
    assert polled(state, grant) is PollRefusal.UNKNOWN


@pytest.mark.parametrize("decision", [None, Decision.APPROVED, Decision.DENIED])
def test_a_request_ends_at_its_expiry_and_is_unknown_an_hour_later(state: State, decision: Decision | None) -> None:
    grant = started(state)
    if decision is Decision.APPROVED:
        approved(state, grant)
    elif decision is Decision.DENIED:
        assert state.deny(grant, now=0)
    assert polled(state, grant, now=900) is PollRefusal.EXPIRED
    started(state, now=900 + 3599)
    assert polled(state, grant, now=900 + 3599) is PollRefusal.EXPIRED
    started(state, now=900 + 3600)
    assert polled(state, grant, now=900 + 3600) is PollRefusal.UNKNOWN


def test_codes_and_tokens_are_too_long_to_guess(state: State) -> None:
    grant = started(state)
    token = linked(state)
    (family,) = state.find_families(ALICE, now=0)
    secrets = {grant.device_code, issued(state), token, family.family_id, state.session_epoch}
    assert [len(secret) for secret in secrets] == [43] * 5  # 256 bits in base64url


def test_a_refresh_token_is_its_client_s(state: State) -> None:
    token = linked(state)
    assert state.find_family(token, HUB, now=0) is None
    assert refreshed(state, token, HUB) is None
    family = state.revoke(token, HUB, now=0)
    assert family is not None
    assert family.client_id == "tv"
    assert state.find_family(token, TV, now=0) is not None  # another client's request did not revoke it
    assert refreshed(state, token) is not None
    assert state.revoke(token, TV, now=0) is not None
    assert state.find_family(token, TV, now=0) is None


def test_a_used_refresh_token_revokes_its_family(state: State) -> None:
    first, other = linked(state), linked(state)
    second = refreshed(state, first)
    assert second not in {None, first}
    assert state.find_family(second or "", TV, now=0) == state.find_family(first, TV, now=0)
    assert refreshed(state, first) is None
    for token in (first, second or ""):
        assert state.find_family(token, TV, now=0) is None
        assert refreshed(state, token) is None
        assert state.revoke(token, TV, now=0) is None
    assert refreshed(state, other) is not None


def test_without_rotation_a_refresh_token_stays(state: State) -> None:
    client = replace(TV, rotate_refresh_tokens=False)
    token = linked(state, client)
    for _ in range(2):
        assert refreshed(state, token, client) == token


@pytest.mark.parametrize("token", ["", "unknown"])
def test_an_unknown_refresh_token_is_nobody_s(state: State, token: str) -> None:
    linked(state)
    assert state.find_family(token, TV, now=0) is None
    assert refreshed(state, token) is None
    assert state.revoke(token, TV, now=0) is None


def test_a_user_unlinks_own_devices_alone(state: State) -> None:
    token = linked(state)
    kept = linked(state, HUB)
    families = state.find_families(ALICE, now=0)
    assert [family.client_id for family in families] == ["tv", "hub"]
    assert state.find_families(BOB, now=0) == ()
    assert state.unlink(families[0].family_id, BOB) is None
    assert state.unlink("unknown", ALICE) is None
    assert state.find_families(ALICE, now=0) == families
    assert state.unlink(families[0].family_id, ALICE) == families[0]
    assert state.unlink(families[0].family_id, ALICE) is None
    assert state.find_families(ALICE, now=0) == families[1:]
    assert state.find_family(token, TV, now=0) is None
    assert state.find_family(kept, HUB, now=0) is not None


@pytest.mark.parametrize("same", ["session", "address"])
def test_wrong_codes_count_for_the_session_and_for_the_address(same: str) -> None:
    state = State(Config(clients=(TV,), wrong_code_limit=3))
    grant = started(state)

    def enter(code: str, number: int) -> DeviceGrant | None:
        source = {"session_id": f"s{number}", "address": f"a{number}"}
        source["session_id" if same == "session" else "address"] = "one"
        return state.enter_user_code(code, now=0, **source)

    for number in range(3):
        assert enter(grant.user_code, number) == grant  # a right one does not count
        assert enter("WRONG", number) is None
    with pytest.raises(TooManyWrongCodes):
        enter(grant.user_code, 3)
    assert state.enter_user_code(grant.user_code, session_id="other", address="other", now=0) == grant
    assert state.enter_user_code(grant.user_code, session_id="one", address="one", now=900) is None  # expired


def test_wrong_links_do_not_count_as_entered_codes_but_entered_ones_stop_links() -> None:
    state = State(Config(clients=(TV,), wrong_code_limit=2))
    grant = started(state)
    one = {"session_id": "s", "address": "a"}
    for _ in range(2):
        assert state.open_link(grant.user_code, now=0, **one) == grant
        assert state.open_link("WRONG", now=0, **one) is None
    with pytest.raises(TooManyWrongLinks):
        state.open_link(grant.user_code, now=0, **one)
    assert state.open_link(grant.user_code, session_id="t", address="b", now=0) == grant
    for _ in range(2):
        assert state.enter_user_code(grant.user_code, now=0, **one) == grant
        assert state.enter_user_code("WRONG", now=0, **one) is None
    with pytest.raises(TooManyWrongCodes):
        state.open_link(grant.user_code, now=0, **one)


def test_a_family_expires_as_a_whole(state: State) -> None:
    first = linked(state)
    second = refreshed(state, first, now=2_591_999) or ""
    (family,) = state.find_families(ALICE, now=2_591_999)
    assert family.expires_at == 2_592_000
    assert state.find_current_family(first, now=2_591_999) is None
    assert state.find_current_family(second, now=2_591_999) == family
    assert state.find_current_family(second, now=2_592_000) is None
    assert state.find_families(ALICE, now=0) == ()
    families = state._families
    assert (families._families, families._tokens, families._family_ids) == ({}, {}, {})


def test_the_oldest_families_expire_first(state: State) -> None:
    old = linked(state)
    grant = approved(state, started(state, now=10), now=10)
    redemption = polled(state, grant, now=10)
    assert isinstance(redemption, Redemption)
    # What replaces the old token keeps the old family's place and end.
    refreshed(state, old, now=20)
    (young,) = state.find_families(ALICE, now=2_592_000)
    assert young.current_token == redemption.refresh_token
    assert len(state._families._family_ids) == len(state._families._tokens) == 1
    assert state.find_families(ALICE, now=2_592_010) == ()


def test_a_new_family_deletes_those_that_have_expired(state: State) -> None:
    linked(state)
    grant = approved(state, started(state, now=2_592_000), now=2_592_000)
    polled(state, grant, now=2_592_000)
    assert len(state._families._families) == 1


def test_without_rotation_a_token_is_kept_once(state: State) -> None:
    client = replace(TV, rotate_refresh_tokens=False)
    token = linked(state, client)
    for now in range(5):
        assert refreshed(state, token, client, now=now) == token
    assert [len(tokens) for tokens in state._families._tokens.values()] == [1]


def test_what_is_of_a_user_can_be_deleted(state: State) -> None:
    tokens = {user.sub: linked(state, user=user) for user in (ALICE, BOB)}
    grant = started(state)
    state.delete_of_user(ALICE)
    assert state.find_family(tokens[ALICE.sub], TV, now=0) is None
    assert state.find_family(tokens[BOB.sub], TV, now=0) is not None
    assert [state.has_consent(user.sub, grant) for user in (ALICE, BOB)] == [False, True]


def test_a_request_is_found_by_its_client_alone(state: State) -> None:
    grant = started(state)
    assert state.find_grant(grant.device_code, TV) == grant
    assert state.find_grant(grant.device_code, HUB) is None
    assert state.find_grant("", TV) is None


def test_a_script_is_due_after_its_polls_for_a_pending_request_of_this_client(state: State) -> None:
    state.set_script(Script(after_polls=2, outcome="approve", username="alice"))
    grant = started(state)
    for now in (0, 5):
        assert state.find_due_scripted_grant(grant.device_code, TV, now=now) is None
        assert polled(state, grant, now=now) is PollRefusal.PENDING
    due = state.find_due_scripted_grant(grant.device_code, TV, now=10)
    assert due is not None
    assert due.device_code == grant.device_code
    assert state.find_due_scripted_grant(grant.device_code, HUB, now=10) is None
    assert state.find_due_scripted_grant("unknown", TV, now=10) is None
    approved(state, grant)
    assert state.find_due_scripted_grant(grant.device_code, TV, now=10) is None


def test_a_pending_request_can_be_ended_before_its_time(state: State) -> None:
    grant = started(state)
    state.expire(grant, now=5)
    assert polled(state, grant, now=5) is PollRefusal.EXPIRED


def test_a_user_code_is_in_use_once(monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    codes = iter(["AAAA-BBBB", "aaaa bbbb", "AAAA-BBBB", "CCCC-DDDD"])
    monkeypatch.setattr("mock_issuer.flow.user_code.generate", lambda charset, mask: next(codes))
    assert [started(state).user_code for _ in range(2)] == ["AAAA-BBBB", "CCCC-DDDD"]


def test_a_reset_forgets_everything(state: State) -> None:
    epoch, token, grant = state.session_epoch, linked(state), approved(state, started(state))
    state.reset()
    assert state.session_epoch != epoch
    assert state.find_family(token, TV, now=0) is None
    assert state.find_families(ALICE, now=0) == ()
    assert polled(state, grant) is PollRefusal.UNKNOWN
    assert not state.has_consent(ALICE.sub, grant)
    assert state.find_pending(grant.user_code, now=0) is None


# Authorization codes


def redeemed(state: State, code: str, *, now: float = 0) -> CodeRedemption | CodeRefusal:
    sent = {"redirect_uri": "https://a.example/cb", "code_challenge": "c", "address": "", "key_thumbprint": ""}
    return state.redeem_code(code, TV, now=now, **sent)


def issued(state: State, access: Access = ACCESS, *, now: float = 0) -> str:
    request = CodeRequest(
        client_id="tv",
        redirect_uri="https://a.example/cb",
        access=access,
        code_challenge="c",
        nonce="",
        key_thumbprint="",
    )
    return state.issue_code(request, user=ALICE, auth_time=0, claims=ExtraClaims(), now=now)


def test_a_second_use_of_a_code_ends_its_refresh_token(state: State) -> None:
    code, other = issued(state), issued(state)
    first, second = redeemed(state, code), redeemed(state, other)
    assert isinstance(first, CodeRedemption)
    assert isinstance(second, CodeRedemption)
    assert family_of(state, first.refresh_token).code == first.code.code == code
    assert family_of(state, linked(state)).code == ""
    assert redeemed(state, code) is CodeRefusal.UNKNOWN
    assert state.find_family(first.refresh_token or "", TV, now=0) is None
    assert family_of(state, second.refresh_token).code == other


def test_a_code_without_offline_access_gives_no_refresh_token(state: State) -> None:
    code = issued(state, replace(ACCESS, scopes=("read",)))
    redemption = redeemed(state, code)
    assert isinstance(redemption, CodeRedemption)
    assert redemption.refresh_token is None
    assert redeemed(state, code) is CodeRefusal.UNKNOWN


def test_an_access_token_that_is_signed_after_a_second_use_of_its_code_has_ended(state: State) -> None:
    code, other = issued(state), issued(state)
    assert isinstance(redeemed(state, code), CodeRedemption)
    for token in ("signed before", "refreshed before"):
        state.add_access_token(code, token, now=0)
    assert redeemed(state, code) is CodeRefusal.UNKNOWN
    state.add_access_token(code, "signed after", now=0)
    state.add_access_token(other, "of another code", now=0)
    state.add_access_token("", "of a device code", now=0)
    for token in ("signed before", "refreshed before", "signed after"):
        assert state.is_revoked(token)
    for token in ("of another code", "of a device code"):
        assert not state.is_revoked(token)


def test_codes_and_what_is_known_of_their_tokens_are_forgotten_in_the_end(state: State) -> None:
    old, reused = issued(state), issued(state)
    for code in (old, reused):
        assert isinstance(redeemed(state, code), CodeRedemption)
        state.add_access_token(code, f"token of {code}", now=0)
    redeemed(state, reused, now=3659)
    newer = issued(state, now=3659)
    assert (state.find_code(old, TV) is None, state.find_code(newer, TV) is None) == (False, False)
    newest = issued(state, now=3660)
    assert [state.find_code(code, TV) is None for code in (old, reused, newer, newest)] == [True, True, False, False]
    assert state.is_revoked(f"token of {reused}")
    # When its token has expired as well, the next second use of any code drops it.
    end = 3659 + 86_400
    last = issued(state, now=end)
    redeemed(state, last, now=end)
    redeemed(state, last, now=end)
    assert not state.is_revoked(f"token of {reused}")
    state.add_access_token("", "of a device code", now=end + 3660)
    assert state.find_code(last, TV) is None


def test_a_code_is_found_and_redeemed_by_its_client_alone(state: State) -> None:
    code = issued(state)
    found = state.find_code(code, TV)
    assert found is not None
    assert found.code == code
    assert state.find_code(code, HUB) is None
    assert state.find_code("", TV) is None
    wanted = {"redirect_uri": "https://a.example/cb", "code_challenge": "c", "address": "", "key_thumbprint": ""}
    assert state.redeem_code(code, HUB, now=0, **wanted) is CodeRefusal.UNKNOWN
    assert isinstance(redeemed(state, code), CodeRedemption)  # the other client's attempt was no use of it


@pytest.mark.parametrize(
    ("changes", "now", "refusal"),
    [
        ({"redirect_uri": "https://a.example/cb/"}, 0, CodeRefusal.OTHER_REDIRECT_URI),
        ({"code_challenge": "C"}, 0, CodeRefusal.WRONG_VERIFIER),
        ({}, 60, CodeRefusal.EXPIRED),
    ],
    ids=["redirect URI", "challenge", "time"],
)
def test_a_refused_exchange_is_no_use_of_the_code(
    state: State, changes: dict[str, str], now: float, refusal: CodeRefusal
) -> None:
    code = issued(state)
    sent = {"redirect_uri": "https://a.example/cb", "code_challenge": "c", "address": "", "key_thumbprint": ""}
    assert state.redeem_code(code, TV, now=now, **(sent | changes)) is refusal
    assert isinstance(redeemed(state, code, now=59), CodeRedemption)


def test_a_code_carries_the_consent(state: State) -> None:
    grant = started(state)
    issued(state)
    assert state.has_consent(ALICE.sub, grant)


# Keys that refresh tokens are bound to (RFC 9449 §5)


@pytest.mark.parametrize(("client", "bound_to"), [(TV, "a key"), (WEB, "")], ids=["public", "confidential"])
def test_a_public_clients_refresh_token_is_bound(state: State, client: Client, bound_to: str) -> None:
    grant = approved(state, started(state, client))
    redemption = polled(state, grant, client, key="a key")
    assert isinstance(redemption, Redemption)
    assert family_of(state, redemption.refresh_token, client).key_thumbprint == bound_to


def test_a_refresh_binds_what_was_not_bound_and_never_to_another_key(state: State) -> None:
    token: str | None = linked(state)
    for key, bound_to in (("", ""), ("a key", "a key"), ("", "a key"), ("another", "a key")):
        token = refreshed(state, token or "", key=key)
        assert family_of(state, token).key_thumbprint == bound_to


def test_without_a_key_nothing_is_bound(state: State) -> None:
    assert started(state).key_thumbprint == ""
    token = linked(state)
    assert family_of(state, token).key_thumbprint == ""
    assert family_of(state, refreshed(state, token)).key_thumbprint == ""
    redemption = redeemed(state, issued(state))
    assert isinstance(redemption, CodeRedemption)
    assert family_of(state, redemption.refresh_token).key_thumbprint == ""


# Opaque access tokens


def test_an_opaque_token_stands_for_its_claims_until_it_is_revoked(state: State) -> None:
    one, other = (state.issue_opaque_token({"sub": name}, expires_at=60, now=0) for name in ("one", "other"))
    assert state.read_opaque_token(one) == {"sub": "one"}
    state.revoke_opaque_token(one)
    assert (state.read_opaque_token(one), state.read_opaque_token(other)) == (None, {"sub": "other"})
