"""Token → whose devices its bearer may look at and change: the one place that decides it."""

import hashlib
import re

from api.auth import AccessToken

from .models import EVERYONE, Owner, Whose

READ_ALL = "read:devices:all"
# Subjects that are stored as they are. OpenID Connect Core §2 allows no longer ones, but other issuers may; an index
# row of PostgreSQL could not hold all that fit into a token, and its texts hold no NUL.
_PLAIN = re.compile(r"(?!sha256:)[^\x00]{1,255}", re.DOTALL)


def owner(token: AccessToken) -> Owner:
    """Return whom the token speaks for: what is created is theirs, and nobody else's can be changed."""
    return Owner(token.issuer, _stored(token.subject))


def visible_to(token: AccessToken) -> Whose:
    """Return whose devices the token lets its bearer look at: their own, or with `read:devices:all` everyone's."""
    return EVERYONE if READ_ALL in token.granted else owner(token)


def _stored(subject: str) -> str:
    # What looks like a digest is digested too, so that no subject can pass for another one.
    if _PLAIN.fullmatch(subject) is not None:
        return subject
    return f"sha256:{hashlib.sha256(subject.encode()).hexdigest()}"
