"""The families of refresh tokens: each is a token and its successors by rotation (RFC 9700 §4.14.2)."""

import secrets
from dataclasses import replace

from mock_issuer.config import Client
from mock_issuer.flow.records import AuthorizationCode, CodeRequest, DeviceGrant, RefreshFamily

_TOKEN_BYTES = 32


class RefreshFamilies:
    """The families that are neither revoked nor expired. Not thread-safe. `now` is in seconds since the epoch.

    Args:
        lifetime_seconds: the lifetime of a family, from its first token on.
    """

    def __init__(self, lifetime_seconds: int) -> None:
        self._lifetime_seconds = lifetime_seconds
        self._families: dict[str, RefreshFamily] = {}
        # Each family's refresh tokens, current and used ones, and the other way round.
        self._tokens: dict[str, list[str]] = {}
        self._family_ids: dict[str, str] = {}

    def start(
        self,
        approved: DeviceGrant | AuthorizationCode,
        request: DeviceGrant | CodeRequest,
        client: Client,
        *,
        address: str,
        now: float,
        key_thumbprint: str,
    ) -> RefreshFamily | None:
        """Return a new family with its first token; None without the scope `offline_access`.

        Args:
            approved: what the user approved.
            request: what was requested.
            client: the client that gets the token.
            address: the IP address of the client.
            now: the time.
            key_thumbprint: the key that a public client's tokens are bound to; empty for none.
        """
        if "offline_access" not in request.access.scopes:
            return None
        self.delete_expired(now)
        family = RefreshFamily(
            family_id=secrets.token_urlsafe(_TOKEN_BYTES),
            client_id=request.client_id,
            access=request.access,
            sub=approved.sub,
            auth_time=approved.auth_time,
            address=address,
            linked_at=now,
            used_at=now,
            expires_at=now + self._lifetime_seconds,
            current_token=secrets.token_urlsafe(_TOKEN_BYTES),
            code=approved.code if isinstance(approved, AuthorizationCode) else "",
            key_thumbprint=_binding_of(client, key_thumbprint),
        )
        self._families[family.family_id] = family
        self._add_token(family.current_token, family.family_id)
        return family

    def find(self, refresh_token: str, *, now: float) -> RefreshFamily | None:
        """Return the family of a refresh token, current or used, whichever client's; None if it is unknown."""
        self.delete_expired(now)
        return self._families.get(self._family_ids.get(refresh_token, ""))

    def find_of_client(self, refresh_token: str, client: Client, *, now: float) -> RefreshFamily | None:
        """Return the family of a client's refresh token, current or used; None if it is unknown or another's."""
        family = self.find(refresh_token, now=now)
        return family if family and family.client_id == client.client_id else None

    def use(self, refresh_token: str, client: Client, *, address: str, now: float, key_thumbprint: str) -> str | None:
        """Use a refresh token; the arguments and the result are those of State.use_refresh_token."""
        family = self.find_of_client(refresh_token, client, now=now)
        if family is None:
            return None
        if family.current_token != refresh_token:
            self.delete(family.family_id)
            return None
        successor = secrets.token_urlsafe(_TOKEN_BYTES) if client.rotate_refresh_tokens else refresh_token
        used = replace(family, current_token=successor, address=address, used_at=now)
        if successor != refresh_token:
            if not family.key_thumbprint:
                used = replace(used, key_thumbprint=_binding_of(client, key_thumbprint))
            self._add_token(successor, family.family_id)
        self._families[family.family_id] = used
        return successor

    def get(self, family_id: str) -> RefreshFamily | None:
        """Return the family with this id, or None."""
        return self._families.get(family_id)

    def of_subject(self, sub: str) -> tuple[RefreshFamily, ...]:
        """Return the families of a user, oldest first, expired ones too."""
        return tuple(family for family in self._families.values() if family.sub == sub)

    def delete(self, family_id: str) -> None:
        """Revoke a family; do nothing if there is none with this id."""
        # A revoked or expired token gets the same answer as an unknown one, so nothing of it is kept.
        self._families.pop(family_id, None)
        for refresh_token in self._tokens.pop(family_id, ()):
            del self._family_ids[refresh_token]

    def delete_expired(self, now: float) -> None:
        """Delete the families whose tokens have expired."""
        # All have the same lifetime, so the oldest expire first. What replaces a token keeps the place of its family.
        while self._families:
            oldest = next(iter(self._families.values()))
            if now < oldest.expires_at:
                break
            self.delete(oldest.family_id)

    def _add_token(self, refresh_token: str, family_id: str) -> None:
        self._tokens.setdefault(family_id, []).append(refresh_token)
        self._family_ids[refresh_token] = family_id


def _binding_of(client: Client, key_thumbprint: str) -> str:
    # RFC 9449 §5: the refresh tokens of a confidential client are bound to its secret already.
    return key_thumbprint if client.secret is None else ""
