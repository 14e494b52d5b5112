"""The patch that brings a live object to what is wanted, of the type that its kind takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluvial.helm.clientside import jsonmerge, strategic
from fluvial.helm.clientside.strategies import is_built_in, rules_of
from fluvial.kube.client import PatchType
from fluvial.objects import JsonObject, gvk_of

__all__ = ["Patch", "patch_for"]


@dataclass(frozen=True, slots=True)
class Patch:
    """A request's body; empty where nothing is to be sent."""

    type: PatchType
    body: JsonObject = field(repr=False)


def patch_for(modified: JsonObject, live: JsonObject, *, original: JsonObject | None) -> Patch:
    """Make a patch as Helm does.

    Kinds of Kubernetes get a strategic merge of three versions. All others get a JSON merge patch
    of the two manifests alone: what somebody has changed since stays where the chart says the same
    as before.

    Args:
        modified: as the object is wanted.
        live: as it is.
        original: as the release wrote it last; ``None`` where it did not: then nothing is deleted.

    Raises:
        MergeError: the versions cannot be merged.

    """
    gvk = gvk_of(modified)
    base = modified if original is None else original
    if is_built_in(gvk.group):
        rule = rules_of(gvk.group, gvk.kind)
        return Patch("strategic", strategic.three_way(base, modified, live, rule=rule))
    if original is None:
        return Patch("merge", jsonmerge.three_way(base, modified, live))
    return Patch("merge", jsonmerge.two_way(original, modified))
