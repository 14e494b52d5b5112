"""What this version refuses instead of ignoring."""

from __future__ import annotations

from fluvial.api.codec import unsupported_fields
from fluvial.objects import JsonObject, annotations_of
from fluvial.runtime.outcome import Stalled
from helm_controller.helmrelease import reasons

__all__ = ["REFUSED_ANNOTATIONS", "REFUSED_FIELDS", "refuse_unsupported"]

REFUSED_FIELDS: tuple[str, ...] = ()
REFUSED_ANNOTATIONS = tuple(f"fluvial.dev/{name}" for name in ("prune-limit", "drift", "apply"))


def refuse_unsupported(obj: JsonObject) -> None:
    """Stop before anything is done that a field would have changed.

    Raises:
        Stalled: UnsupportedField; the message names every field and annotation concerned.

    """
    found = [
        *unsupported_fields(obj, REFUSED_FIELDS),
        *(f"annotation {name}" for name in REFUSED_ANNOTATIONS if name in annotations_of(obj)),
    ]
    if found:
        raise Stalled(
            reasons.UNSUPPORTED_FIELD,
            f"not supported by this version: {', '.join(found)}; remove it to go on",
        )
