"""Fields that are part of the API and not done yet: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.api.codec import unsupported_fields
from fluvial.objects import JsonObject
from source_controller.source import reasons
from source_controller.source.run import StepFailed

__all__ = ["refuse_unsupported"]


def refuse_unsupported(obj: JsonObject, refused: Iterable[str]) -> None:
    """Stall on an object that sets such a field.

    Args:
        obj: the object.
        refused: as for ``codec.unsupported_fields``.

    Raises:
        StepFailed: ``UnsupportedField``, stalled, naming the first one.

    """
    found = unsupported_fields(obj, refused)
    if found:
        raise StepFailed(
            "",
            reasons.UNSUPPORTED_FIELD,
            f"{found[0]} is not supported yet: remove it from the object",
            kind="stalled",
        )
