"""The issuer's state, in memory: device requests, authorization codes, refresh tokens, consents, wrong codes.

Every method takes the same lock, and every record it returns is frozen. `now` is in seconds since the epoch.
"""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mock_issuer.config import Client, Config, User
from mock_issuer.flow import user_code
from mock_issuer.flow.access_tokens import AccessTokens, token_digest
from mock_issuer.flow.authorization_codes import AuthorizationCodes
from mock_issuer.flow.records import (
    Access,
    AuthorizationCode,
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
from mock_issuer.flow.refresh_tokens import RefreshFamilies
from mock_issuer.flow.wrong_codes import TooManyWrongCodes, TooManyWrongLinks, WrongCodes
from mock_issuer.rules import ExtraClaims

# RFC 8628 §3.5: each `slow_down` increases the interval by 5 seconds.
_SLOW_DOWN_SECONDS = 5
# How long a device code answers `expired_token` before it is deleted and unknown.
_KEEP_EXPIRED_SECONDS = 3600
_TOKEN_BYTES = 32


class State:
    """The issuer's state. Thread-safe: each method is atomic."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        # A browser session with another epoch counts as logged out.
        self.session_epoch = secrets.token_urlsafe(_TOKEN_BYTES)
        self._script: Script | None = None
        self._grants: dict[str, DeviceGrant] = {}
        # Device codes by normalized user code.
        self._device_codes: dict[str, str] = {}
        self._codes = AuthorizationCodes(self._config.authorization_code_seconds)
        self._access_tokens = AccessTokens(self._config.access_token_seconds)
        self._families = RefreshFamilies(self._config.refresh_token_seconds)
        # Granted scopes by sub, client id and audience.
        self._consents: dict[tuple[str, str, str], frozenset[str]] = {}
        self._wrong_codes = WrongCodes(self._config.wrong_code_limit)
        self._wrong_links = WrongCodes(self._config.wrong_code_limit)

    def reset(self) -> None:
        """Delete everything, and log every browser session out."""
        with self._lock:
            self._clear()

    def start_grant(
        self, client: Client, access: Access, *, address: str, now: float, key_thumbprint: str
    ) -> DeviceGrant:
        """Create a device request with new codes (RFC 8628 §3.2).

        Args:
            client: the client that sent it.
            access: the requested access.
            address: the IP address that it came from.
            now: the time.
            key_thumbprint: the key that it is bound to; empty for none.
        """
        with self._lock:
            self._delete_expired_grants(now)
            grant = DeviceGrant(
                device_code=secrets.token_urlsafe(_TOKEN_BYTES),
                user_code=self._new_user_code(),
                client_id=client.client_id,
                access=access,
                address=address,
                requested_at=now,
                expires_at=now + self._config.device_code_seconds,
                interval_seconds=self._config.poll_interval_seconds,
                key_thumbprint=key_thumbprint,
                script=self._script,
            )
            self._grants[grant.device_code] = grant
            self._device_codes[user_code.normalize(grant.user_code)] = grant.device_code
            return grant

    def set_script(self, script: Script | None) -> None:
        """Set the script of all later device requests; with None, users decide them."""
        with self._lock:
            self._script = script

    def find_grant(self, device_code: str, client: Client) -> DeviceGrant | None:
        """Return the client's request with this device code, decided or not; None if it is unknown."""
        with self._lock:
            grant = self._grants.get(device_code)
            return grant if grant and grant.client_id == client.client_id else None

    def find_due_scripted_grant(self, device_code: str, client: Client, *, now: float) -> DeviceGrant | None:
        """Return the client's pending request if its script decides it at this poll."""
        with self._lock:
            grant = self._pending(device_code, now)
            due = grant and grant.script and grant.pending_polls >= grant.script.after_polls
            return grant if grant and due and grant.client_id == client.client_id else None

    def poll(self, device_code: str, client: Client, *, now: float, key_thumbprint: str) -> Redemption | PollRefusal:
        """Redeem an approved request, once, or return why not (RFC 8628 §3.5).

        A public client's refresh token is bound to the key with this thumbprint, unless that is empty (RFC 9449 §5).
        A client cannot redeem another client's code. With `device_code_reuse_revokes`, a second redemption revokes the
        refresh tokens of the first. RFC 8628 does not ask for that, unlike RFC 6749 §4.1.2 for authorization codes.
        """
        with self._lock:
            grant = self._grants.get(device_code)
            if grant is None or grant.client_id != client.client_id:
                return PollRefusal.UNKNOWN
            if grant.decision is Decision.REDEEMED:
                if grant.family_id is not None and self._config.device_code_reuse_revokes:
                    self._families.delete(grant.family_id)
                return PollRefusal.UNKNOWN
            if now >= grant.expires_at:
                return PollRefusal.EXPIRED
            if grant.decision is Decision.DENIED:
                return PollRefusal.DENIED
            if grant.decision is Decision.PENDING:
                return self._poll_pending(grant, now)
            family = self._families.start(
                grant, grant, client, address=grant.address, now=now, key_thumbprint=key_thumbprint
            )
            self._grants[device_code] = replace(
                grant, decision=Decision.REDEEMED, family_id=family.family_id if family else None
            )
            return Redemption(grant=grant, refresh_token=family.current_token if family else None)

    def enter_user_code(self, entered_code: str, *, session_id: str, address: str, now: float) -> DeviceGrant | None:
        """Return the pending request of a user code that a user entered (RFC 8628 §3.3), or None if it is wrong.

        Raises TooManyWrongCodes, whether the code is right or not, if this session, this IP address or all together
        have entered too many wrong ones (§5.1).
        """
        with self._lock:
            return self._guess(self._wrong_codes, entered_code, session_id, address, now)

    def open_link(self, linked_code: str, *, session_id: str, address: str, now: float) -> DeviceGrant | None:
        """Return the pending request of a user code in a link (RFC 8628 §3.3.1), or None if it is wrong.

        Any web page can make a browser open links. So wrong ones have a limit of their own, beyond which a link finds
        nothing, while a user can still enter the code.

        Raises TooManyWrongCodes as enter_user_code does, TooManyWrongLinks for too many wrong links.
        """
        with self._lock:
            self._wrong_codes.check(_sources(session_id, address), now)
            try:
                return self._guess(self._wrong_links, linked_code, session_id, address, now)
            except TooManyWrongCodes as exc:
                raise TooManyWrongLinks from exc

    def find_pending(self, entered_code: str, *, now: float) -> DeviceGrant | None:
        """Return the pending request of a user code, or None. Does not count wrong codes: for trusted callers."""
        with self._lock:
            return self._find_by_user_code(entered_code, now)

    def approve(self, grant: DeviceGrant, *, user: User, auth_time: int, claims: ExtraClaims, now: float) -> bool:
        """Approve a pending request and store the consent; return False if it is no longer pending."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is None:
                return False
            approved = replace(pending, decision=Decision.APPROVED, sub=user.sub, auth_time=auth_time, claims=claims)
            self._grants[grant.device_code] = approved
            self._add_consent(user, grant)
            return True

    def deny(self, grant: DeviceGrant, *, now: float) -> bool:
        """Deny a pending request; return False if it is no longer pending."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is None:
                return False
            self._grants[grant.device_code] = replace(pending, decision=Decision.DENIED)
            return True

    def expire(self, grant: DeviceGrant, *, now: float) -> None:
        """Expire a pending request now; do nothing if it is no longer pending."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is not None:
                self._grants[grant.device_code] = replace(pending, expires_at=now)

    def has_consent(self, sub: str, request: DeviceGrant | CodeRequest) -> bool:
        """Return whether this user has granted this client every requested scope before."""
        with self._lock:
            granted = self._consents.get((sub, request.client_id, request.access.audience))
            return granted is not None and granted.issuperset(request.access.scopes)

    def issue_code(self, request: CodeRequest, *, user: User, auth_time: int, claims: ExtraClaims, now: float) -> str:
        """Return a new authorization code for a request that a user approved, and store the consent (RFC 6749 §4.1.2).

        Args:
            request: the request.
            user: who approved it.
            auth_time: when the user logged in, in seconds since the epoch.
            claims: the claims that the rules added.
            now: the time.
        """
        with self._lock:
            code = self._codes.issue(request, user=user, auth_time=auth_time, claims=claims, now=now)
            self._add_consent(user, request)
            return code

    def find_code(self, code: str, client: Client) -> AuthorizationCode | None:
        """Return the client's authorization code, used or expired or not; None if it is unknown."""
        with self._lock:
            return self._codes.find(code, client)

    def redeem_code(
        self,
        code: str,
        client: Client,
        *,
        redirect_uri: str,
        code_challenge: str,
        address: str,
        now: float,
        key_thumbprint: str,
    ) -> CodeRedemption | CodeRefusal:
        """Redeem an authorization code, once, or return why not (RFC 6749 §4.1.3, RFC 7636 §4.6).

        A wrong client, redirect URI or verifier is no use of the code. A second use ends all tokens that the first one
        led to (§4.1.2).

        Args:
            code: the code, unverified.
            client: the authenticated client.
            redirect_uri: the one of the token request; it must be that of the authorization request.
            code_challenge: the SHA-256 of the code verifier, in base64url.
            address: the IP address of the client.
            now: the time.
            key_thumbprint: the key that a public client's refresh token is bound to; empty for none.
        """
        with self._lock:
            found = self._codes.check(code, client, redirect_uri=redirect_uri, code_challenge=code_challenge, now=now)
            if isinstance(found, CodeRefusal):
                return found
            if found.used:
                self._end_tokens_of(found, now)
                return CodeRefusal.UNKNOWN
            family = self._families.start(
                found, found.request, client, address=address, now=now, key_thumbprint=key_thumbprint
            )
            redeemed = self._codes.mark_used(found, family.family_id if family else None)
            return CodeRedemption(code=redeemed, refresh_token=family.current_token if family else None)

    def add_access_token(self, code: str, access_token: str, *, now: float) -> None:
        """Remember that an authorization code led to an access token, at its exchange or at a refresh."""
        with self._lock:
            digest = token_digest(access_token)
            if self._codes.add_access_token(code, digest, now=now):
                self._access_tokens.revoke((digest,), now=now)

    def is_revoked(self, access_token: str) -> bool:
        """Return whether an access token ended by a second use of its authorization code (RFC 6749 §4.1.2)."""
        with self._lock:
            return self._access_tokens.is_revoked(access_token)

    def issue_opaque_token(self, claims: Mapping[str, Any], *, expires_at: float, now: float) -> str:
        """Return a new opaque access token that stands for these claims until `expires_at`, and is then forgotten."""
        with self._lock:
            return self._access_tokens.issue_opaque(claims, expires_at=expires_at, now=now)

    def read_opaque_token(self, unverified_token: str) -> Mapping[str, Any] | None:
        """Return the claims of an opaque access token; None if it is unknown or revoked. Does not check them."""
        with self._lock:
            return self._access_tokens.read_opaque(unverified_token)

    def revoke_opaque_token(self, unverified_token: str) -> None:
        """Revoke an opaque access token (RFC 7009 §2.1); do nothing if it is unknown."""
        with self._lock:
            self._access_tokens.delete_opaque(unverified_token)

    def find_family(self, refresh_token: str, client: Client, *, now: float) -> RefreshFamily | None:
        """Return the family of a client's refresh token, current or used; None if it is unknown, revoked or expired."""
        with self._lock:
            return self._families.find_of_client(refresh_token, client, now=now)

    def find_current_family(self, refresh_token: str, *, now: float) -> RefreshFamily | None:
        """Return the family of a refresh token that can be used, whichever client's; None for any other."""
        with self._lock:
            family = self._families.find(refresh_token, now=now)
            return family if family and family.current_token == refresh_token else None

    def use_refresh_token(
        self, refresh_token: str, client: Client, *, address: str, now: float, key_thumbprint: str
    ) -> str | None:
        """Use a client's refresh token, and return its successor (RFC 9700 §4.14.2), or itself without rotation.

        A public client's successor is bound to the key with this thumbprint, unless that is empty (RFC 9449 §5). Does
        not check the key that the token itself is bound to.

        Return None if it is unknown, revoked or another client's; also if it was used before, which revokes its family.
        """
        with self._lock:
            return self._families.use(refresh_token, client, address=address, now=now, key_thumbprint=key_thumbprint)

    def revoke(self, refresh_token: str, client: Client, *, now: float) -> RefreshFamily | None:
        """Return the family of a refresh token, and revoke it if it is this client's (RFC 7009 §2.1).

        Return None if the token is unknown, revoked or expired.
        """
        with self._lock:
            family = self._families.find(refresh_token, now=now)
            if family is not None and family.client_id == client.client_id:
                self._families.delete(family.family_id)
            return family

    def find_families(self, user: User, *, now: float) -> tuple[RefreshFamily, ...]:
        """Return a user's families that are neither revoked nor expired, oldest first: one for each linked device."""
        with self._lock:
            self._families.delete_expired(now)
            return self._families.of_subject(user.sub)

    def unlink(self, family_id: str, user: User) -> RefreshFamily | None:
        """Revoke a user's family and return it; None if there is none with this id or it is revoked already."""
        with self._lock:
            family = self._families.get(family_id)
            if family is None or family.sub != user.sub:
                return None
            self._families.delete(family_id)
            return family

    def delete_of_user(self, user: User) -> None:
        """Revoke a user's families and delete the user's consents."""
        with self._lock:
            for family in self._families.of_subject(user.sub):
                self._families.delete(family.family_id)
            self._consents = {key: scopes for key, scopes in self._consents.items() if key[0] != user.sub}

    def _new_user_code(self) -> str:
        while True:
            code = user_code.generate(self._config.user_code_charset, self._config.user_code_mask)
            if user_code.normalize(code) not in self._device_codes:
                return code

    def _guess(
        self, wrong_codes: WrongCodes, unverified_code: str, session_id: str, address: str, now: float
    ) -> DeviceGrant | None:
        sources = _sources(session_id, address)
        wrong_codes.check(sources, now)
        grant = self._find_by_user_code(unverified_code, now)
        if grant is None:
            wrong_codes.add(sources, now)
        return grant

    def _delete_expired_grants(self, now: float) -> None:
        # All have the same lifetime, so the oldest expire first.
        while self._grants:
            oldest = next(iter(self._grants.values()))
            if now < oldest.expires_at + _KEEP_EXPIRED_SECONDS:
                break
            del self._grants[oldest.device_code], self._device_codes[user_code.normalize(oldest.user_code)]

    def _pending(self, device_code: str, now: float) -> DeviceGrant | None:
        grant = self._grants.get(device_code)
        return grant if grant and grant.decision is Decision.PENDING and now < grant.expires_at else None

    def _find_by_user_code(self, entered_code: str, now: float) -> DeviceGrant | None:
        return self._pending(self._device_codes.get(user_code.normalize(entered_code), ""), now)

    def _poll_pending(self, grant: DeviceGrant, now: float) -> PollRefusal:
        # abs(): the machine's clock may have been set back.
        if grant.last_poll_at is not None and abs(now - grant.last_poll_at) < grant.interval_seconds:
            # last_poll_at stays: the interval counts from the last `authorization_pending`, not from a `slow_down`.
            if self._config.profile == "rfc":
                slower = grant.interval_seconds + _SLOW_DOWN_SECONDS
                self._grants[grant.device_code] = replace(grant, interval_seconds=slower)
            return PollRefusal.TOO_FAST
        self._grants[grant.device_code] = replace(grant, last_poll_at=now, pending_polls=grant.pending_polls + 1)
        return PollRefusal.PENDING

    def _add_consent(self, user: User, request: DeviceGrant | CodeRequest) -> None:
        consent = (user.sub, request.client_id, request.access.audience)
        self._consents[consent] = self._consents.get(consent, frozenset()) | set(request.access.scopes)

    def _end_tokens_of(self, code: AuthorizationCode, now: float) -> None:
        if code.family_id is not None:
            self._families.delete(code.family_id)
        self._access_tokens.revoke(code.access_tokens, now=now)
        self._codes.mark_reused(code)


def _sources(session_id: str, address: str) -> tuple[str, str]:
    return (f"session {session_id}", f"address {address}")
