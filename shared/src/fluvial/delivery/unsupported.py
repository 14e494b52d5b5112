"""What a version does not do yet is refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fluvial.api.codec import unsupported_fields
from fluvial.objects import JsonObject, annotations_of
from fluvial.runtime.outcome import Stalled

__all__ = ["refuse_unsupported"]

_UNSUPPORTED_FIELD: Final = "UnsupportedField"


def refuse_unsupported(
    obj: JsonObject, *, fields: Iterable[str], annotations: Iterable[str]
) -> None:
    """Stop before anything is done that a field or an annotation would have changed.

    Args:
        obj: the object.
        fields: as for ``codec.unsupported_fields``.
        annotations: names.

    Raises:
        Stalled: UnsupportedField; the message names every field and annotation concerned.

    """
    present = annotations_of(obj)
    found = [
        *unsupported_fields(obj, fields),
        *(f"annotation {name}" for name in annotations if name in present),
    ]
    if found:
        raise Stalled(
            _UNSUPPORTED_FIELD,
            f"not supported by this version: {', '.join(found)}; remove it to go on",
        )
