"""DPoP (RFC 9449): tokens that only the holder of a key can use. A copy without this folder works for all other tokens.

`DPoP` says what is accepted; `ReplayMemory` is what it asks whether a proof was used before.
"""

from .dpop import DPoP
from .replays import ReplayMemory

__all__ = ["DPoP", "ReplayMemory"]
