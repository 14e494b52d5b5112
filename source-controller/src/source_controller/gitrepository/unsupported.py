"""Fields that are part of the API and not done yet: refused by name, never ignored."""

from __future__ import annotations

from fluvial.api.codec import unsupported_fields
from fluvial.objects import JsonObject
from source_controller.gitrepository import reasons
from source_controller.gitrepository.run import StepFailed

__all__ = ["REFUSED", "refuse_unsupported"]

REFUSED = (
    "spec.verify",
    "spec.proxySecretRef",
    "spec.provider=aws",
    "spec.provider=azure",
    "spec.provider=github",
    "spec.serviceAccountName",
)


def refuse_unsupported(obj: JsonObject) -> None:
    """Stall on an object that sets such a field.

    Raises:
        StepFailed: ``UnsupportedField``, stalled, naming the first one.

    """
    found = unsupported_fields(obj, REFUSED)
    if found:
        raise StepFailed(
            "",
            reasons.UNSUPPORTED_FIELD,
            f"{found[0]} is not supported yet: remove it from the object",
            kind="stalled",
        )
