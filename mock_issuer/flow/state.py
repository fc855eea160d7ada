"""All that changes while the issuer runs, in memory behind one lock: device grants, refresh tokens, consents.

What is handed out is frozen; a change replaces it under the lock. Times are seconds of the injected clock.
"""

import secrets
import threading
from dataclasses import replace

from mock_issuer.config import Client, Config, User
from mock_issuer.flow import user_code
from mock_issuer.flow.records import Access, Decision, DeviceGrant, Redemption, RefreshFamily, Refusal, Script
from mock_issuer.flow.wrong_codes import WrongCodes
from mock_issuer.rules import ExtraClaims

# RFC 8628 §3.5: what each `slow_down` adds to the interval.
_SLOW_DOWN_SECONDS = 5
# How long an expired device code still answers `expired_token` before it is forgotten.
_REMEMBER_EXPIRED_SECONDS = 3600
_TOKEN_BYTES = 32


class State:
    """The issuer's memory. Every method is safe to call from any thread, and each is one step."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        # Browsers that were logged in before are not any more.
        self.session_epoch = secrets.token_urlsafe(_TOKEN_BYTES)
        self._script: Script | None = None
        self._grants: dict[str, DeviceGrant] = {}
        self._device_codes: dict[str, str] = {}
        self._families: dict[str, RefreshFamily] = {}
        self._family_ids: dict[str, str] = {}
        self._consents: dict[tuple[str, str, str], frozenset[str]] = {}
        self._wrong_codes = WrongCodes(self._config.wrong_code_limit)

    def reset(self) -> None:
        """Forget everything, who is logged in too."""
        with self._lock:
            self._clear()

    def start(self, client: Client, access: Access, *, address: str, now: float) -> DeviceGrant:
        """Open a device request that came from this network address."""
        with self._lock:
            self._forget_expired(now)
            grant = DeviceGrant(
                device_code=secrets.token_urlsafe(_TOKEN_BYTES),
                user_code=self._new_user_code(),
                client_id=client.client_id,
                access=access,
                address=address,
                requested_at=now,
                expires_at=now + self._config.device_code_seconds,
                interval_seconds=self._config.poll_interval_seconds,
                script=self._script,
            )
            self._grants[grant.device_code] = grant
            self._device_codes[user_code.normalize(grant.user_code)] = grant.device_code
            return grant

    def set_script(self, script: Script | None) -> None:
        """Decide what becomes of the device requests that are opened from now on; None leaves them to people."""
        with self._lock:
            self._script = script

    def find_scripted(self, device_code: str, client: Client, *, now: float) -> DeviceGrant | None:
        """Find the pending request of a client whose script is due at this poll."""
        with self._lock:
            grant = self._pending(device_code, now)
            due = grant and grant.script and grant.pending_polls >= grant.script.after_polls
            return grant if grant and due and grant.client_id == client.client_id else None

    def poll(self, device_code: str, client: Client, *, now: float) -> Redemption | Refusal:
        """Answer a poll, and redeem an approved request: once, however many ask at the same time.

        Another client's code is unknown, and its grant stays as it is. A code redeemed before is unknown too, and
        ends the tokens that came of it.
        """
        with self._lock:
            grant = self._grants.get(device_code)
            if grant is None or grant.client_id != client.client_id:
                return Refusal.UNKNOWN
            if grant.decision is Decision.REDEEMED:
                if grant.family_id is not None:
                    self._end(grant.family_id)
                return Refusal.UNKNOWN
            if now >= grant.expires_at:
                return Refusal.EXPIRED
            if grant.decision is Decision.DENIED:
                return Refusal.DENIED
            if grant.decision is Decision.PENDING:
                return self._poll_pending(grant, now)
            family = self._start_family(grant, now) if "offline_access" in grant.access.scopes else None
            self._grants[device_code] = replace(
                grant, decision=Decision.REDEEMED, family_id=family.family_id if family else None
            )
            return Redemption(grant=grant, refresh_token=family.current_token if family else None)

    def look_up(self, typed: str, *, session_id: str, address: str, now: float) -> DeviceGrant | None:
        """Find the pending request of a user code as a person typed it, or None, which counts as a wrong code.

        Raises TooManyWrongCodes, before looking, when this session, this address or all together sent too many.
        """
        with self._lock:
            guessers = (f"session {session_id}", f"address {address}")
            self._wrong_codes.check(guessers, now)
            grant = self._pending(self._device_codes.get(user_code.normalize(typed), ""), now)
            if grant is None:
                self._wrong_codes.add(guessers, now)
            return grant

    def find_pending(self, typed: str, *, now: float) -> DeviceGrant | None:
        """Find the pending request of a user code, for one who may: nothing is counted."""
        with self._lock:
            return self._pending(self._device_codes.get(user_code.normalize(typed), ""), now)

    def approve(self, grant: DeviceGrant, *, user: User, auth_time: int, claims: ExtraClaims, now: float) -> bool:
        """Approve a pending request for a user and remember the consent; False when it is no longer pending."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is None:
                return False
            approved = replace(pending, decision=Decision.APPROVED, sub=user.sub, auth_time=auth_time, claims=claims)
            self._grants[grant.device_code] = approved
            consent = (user.sub, grant.client_id, grant.access.audience)
            self._consents[consent] = self._consents.get(consent, frozenset()) | set(grant.access.scopes)
            return True

    def deny(self, grant: DeviceGrant, *, now: float) -> bool:
        """Refuse a pending request; False when it is no longer pending."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is None:
                return False
            self._grants[grant.device_code] = replace(pending, decision=Decision.DENIED)
            return True

    def expire(self, grant: DeviceGrant, *, now: float) -> None:
        """Let a pending request expire at once."""
        with self._lock:
            pending = self._pending(grant.device_code, now)
            if pending is not None:
                self._grants[grant.device_code] = replace(pending, expires_at=now)

    def has_consent(self, sub: str, grant: DeviceGrant) -> bool:
        """Tell whether this user allowed this client all that the request asks for before."""
        with self._lock:
            given = self._consents.get((sub, grant.client_id, grant.access.audience))
            return given is not None and given.issuperset(grant.access.scopes)

    def find_family(self, refresh_token: str, client: Client) -> RefreshFamily | None:
        """Find the live family that a client's refresh token belongs to, the current one or an older one."""
        with self._lock:
            return self._family_of(refresh_token, client)

    def use(self, refresh_token: str, client: Client, *, address: str, now: float) -> str | None:
        """Use a client's current refresh token up, and return the one that takes its place, or itself.

        None where there is none such; an older one, or the same one a second time, ends the family.
        """
        with self._lock:
            family = self._family_of(refresh_token, client)
            if family is None:
                return None
            if family.current_token != refresh_token:
                self._end(family.family_id)
                return None
            successor = secrets.token_urlsafe(_TOKEN_BYTES) if client.rotate_refresh_tokens else refresh_token
            self._families[family.family_id] = replace(family, current_token=successor, address=address, used_at=now)
            self._family_ids[successor] = family.family_id
            return successor

    def revoke(self, refresh_token: str, client: Client) -> RefreshFamily | None:
        """Find the live family of a refresh token, and end it if it is this client's."""
        with self._lock:
            family = self._families.get(self._family_ids.get(refresh_token, ""))
            if family is None or family.ended:
                return None
            if family.client_id == client.client_id:
                self._end(family.family_id)
            return family

    def linked(self, user: User) -> tuple[RefreshFamily, ...]:
        """Return the live families of a user, the oldest first: the devices that can get new tokens by themselves."""
        with self._lock:
            return tuple(family for family in self._families.values() if family.sub == user.sub and not family.ended)

    def unlink(self, family_id: str, user: User) -> RefreshFamily | None:
        """End a live family of this user, and return it; None where there is none such."""
        with self._lock:
            family = self._families.get(family_id)
            if family is None or family.ended or family.sub != user.sub:
                return None
            self._end(family_id)
            return family

    def _new_user_code(self) -> str:
        while True:
            code = user_code.generate(self._config.user_code_charset, self._config.user_code_mask)
            if user_code.normalize(code) not in self._device_codes:
                return code

    def _forget_expired(self, now: float) -> None:
        # All live equally long, so the oldest come first.
        while self._grants:
            oldest = next(iter(self._grants.values()))
            if now < oldest.expires_at + _REMEMBER_EXPIRED_SECONDS:
                break
            del self._grants[oldest.device_code], self._device_codes[user_code.normalize(oldest.user_code)]

    def _pending(self, device_code: str, now: float) -> DeviceGrant | None:
        grant = self._grants.get(device_code)
        return grant if grant and grant.decision is Decision.PENDING and now < grant.expires_at else None

    def _poll_pending(self, grant: DeviceGrant, now: float) -> Refusal:
        # The distance, since a machine's clock may be set back.
        if grant.last_poll_at is not None and abs(now - grant.last_poll_at) < grant.interval_seconds:
            # A refused poll leaves last_poll_at alone: who waits out the interval is served, whatever came between.
            if self._config.profile == "rfc":
                slower = grant.interval_seconds + _SLOW_DOWN_SECONDS
                self._grants[grant.device_code] = replace(grant, interval_seconds=slower)
            return Refusal.TOO_FAST
        self._grants[grant.device_code] = replace(grant, last_poll_at=now, pending_polls=grant.pending_polls + 1)
        return Refusal.PENDING

    def _start_family(self, grant: DeviceGrant, now: float) -> RefreshFamily:
        family = RefreshFamily(
            family_id=secrets.token_urlsafe(_TOKEN_BYTES),
            client_id=grant.client_id,
            access=grant.access,
            sub=grant.sub,
            auth_time=grant.auth_time,
            address=grant.address,
            linked_at=now,
            used_at=now,
            current_token=secrets.token_urlsafe(_TOKEN_BYTES),
        )
        self._families[family.family_id] = family
        self._family_ids[family.current_token] = family.family_id
        return family

    def _family_of(self, refresh_token: str, client: Client) -> RefreshFamily | None:
        family = self._families.get(self._family_ids.get(refresh_token, ""))
        return family if family and not family.ended and family.client_id == client.client_id else None

    def _end(self, family_id: str) -> None:
        self._families[family_id] = replace(self._families[family_id], ended=True)
