"""Ask the issuer what a token is worth (RFC 7662), for opaque tokens. A copy without this folder works for JWTs.

`Introspection` says whom to ask; `TokenVerifier` takes it.
"""

from .introspection import Introspection, Tokens

__all__ = ["Introspection", "Tokens"]
