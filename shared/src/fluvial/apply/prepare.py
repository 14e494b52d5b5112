"""From built objects to the desired set: checked, labelled, normalised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fluvial.apply.model import Owner
from fluvial.objects import JsonObject

__all__ = ["prepare"]


def prepare(
    objects: Iterable[JsonObject],
    *,
    owner: Owner,
    common_labels: Mapping[str, str] | None = None,
    common_annotations: Mapping[str, str] | None = None,
) -> tuple[JsonObject, ...]:
    """Make the desired set of a build; the objects given are not changed.

    Raises:
        InvalidDesired: an object sets owner labels to something else, is there twice, has no
            name, or is still encrypted; every such object is listed.

    """
    raise NotImplementedError
