"""Map a verified token to the owner that it acts for and the owners whose devices it may read."""

import hashlib
import re

from api.auth import AccessToken

from .models import EVERYONE, Owner, OwnerScope

READ_ALL = "read:devices:all"
# OpenID Connect Core §2 limits a subject to 255 characters, but other issuers may exceed it. Longer ones could exceed
# PostgreSQL's limit for an index row, and its texts cannot contain NUL.
_STORABLE = re.compile(r"(?!sha256:)[^\x00]{1,255}", re.DOTALL)


def owner_of(token: AccessToken) -> Owner:
    """Return the owner that the token acts for: the owner of the devices that it may create and change.

    Raises InvalidToken if the token has no subject: its client is no owner (RFC 9068 §5).
    """
    return Owner(token.issuer, _stored_subject(token.subject))


def readable_owners(token: AccessToken) -> OwnerScope:
    """Return the owners whose devices the token may read: its own, or everyone with `read:devices:all`.

    Raises InvalidToken if the token has no subject, whatever it is granted: cursors belong to a subject too.
    """
    owner = owner_of(token)
    return EVERYONE if READ_ALL in token.granted else owner


def _stored_subject(subject: str) -> str:
    # A subject that looks like a digest is hashed too, so that it cannot collide with another subject's digest.
    if _STORABLE.fullmatch(subject) is not None:
        return subject
    return f"sha256:{hashlib.sha256(subject.encode()).hexdigest()}"
