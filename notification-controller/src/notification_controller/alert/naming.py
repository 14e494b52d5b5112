"""What the status of a commit is called, where its Provider says so."""

from __future__ import annotations

import msgspec

from fluvial.cel.evaluator import CelEvaluator, ExpressionFailed, Program
from fluvial.objects import JsonObject
from notification_controller.event.model import Event
from notification_controller.provider.outgoing import SendFailed

__all__ = ["status_name"]

_FIELD = "spec.commitStatusExpr"
_LONGEST = 255


async def status_name(
    cel: CelEvaluator, text: str, *, event: Event, alert: JsonObject, provider: JsonObject
) -> str:
    """The name that an expression gives.

    Args:
        cel: evaluates.
        text: ``spec.commitStatusExpr``, which sees the others.
        event: with all its facts.
        alert: that tells it, as it is in the cluster.
        provider: the same; it is that of the expression.

    Raises:
        SendFailed: the expression cannot be evaluated, or gives no name.

    """
    data = {"event": msgspec.to_builtins(event), "alert": alert, "provider": provider}
    namespace = str(provider["metadata"]["namespace"])
    try:
        name = await cel.text(Program(_FIELD, text), data=data, namespace=namespace)
    except ExpressionFailed as error:
        raise SendFailed(str(error), again=False) from error
    if not 0 < len(name) <= _LONGEST or not name.isprintable():
        raise SendFailed(
            f"{_FIELD}: the name must be printable and have 1 to {_LONGEST} characters", again=False
        )
    return name
