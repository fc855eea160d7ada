"""Locks and threads across `fork`: a lock held at the fork stays held in the child, and the threads are not there."""

import os
import weakref
from collections.abc import Callable

_renewals: list[weakref.WeakMethod[Callable[[], None]]] = []


def renew_in_child(renew: Callable[[], None]) -> None:
    """Have the bound method `renew` called in each forked child, for as long as its object lives."""
    _renewals[:] = [known for known in _renewals if known() is not None]
    _renewals.append(weakref.WeakMethod(renew))


def _renew_all() -> None:
    for reference in _renewals:
        renew = reference()
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
