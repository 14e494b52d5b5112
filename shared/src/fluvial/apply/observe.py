"""The interval's check that no event was lost: one metadata LIST per kind, as the tenant."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.apply.inventory import Entry
from fluvial.apply.model import Target, Verified
from fluvial.objects import ObjectRef

__all__ = ["suspect_changed"]


async def suspect_changed(
    target: Target, entries: Iterable[Entry], *, known: Verified
) -> list[ObjectRef]:
    """List the owned objects' versions; those that differ from what is known become suspect.

    One LIST (metadata only, owner's labels) per kind and namespace that the inventory has; where
    the tenant may not list, its objects of that kind become suspect and are read one by one by
    the next plan.

    Returns:
        The objects that are now suspect. Empty: nothing has changed, nothing need be planned.

    """
    raise NotImplementedError
