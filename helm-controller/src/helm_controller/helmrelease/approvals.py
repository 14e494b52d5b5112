"""Which plans were approved, and which of these have been carried out.

An approval names a plan by its digest and counts once. What tells is the condition ``Approved``:
it names the plan that was carried out last, and is part of the digest of every later one, so that
no plan ever has the digest of an older one, however alike they are. A plan has been carried out as
soon as a record of it is stored; what failed before that may be tried again.
"""

from __future__ import annotations

from typing import Final

from fluvial.helm.release import Release
from fluvial.objects import annotations_of
from fluvial.runtime import conditions
from fluvial.runtime.outcome import Stalled
from helm_controller.helmrelease import reasons, verdict
from helm_controller.helmrelease.run import Run

__all__ = ["APPROVE", "MODE", "approval", "carried_out", "found", "is_planned", "last_carried_out"]

MODE: Final = "fluvial.dev/mode"
APPROVE: Final = "fluvial.dev/approve"

_PLAN: Final = "plan"
_SHOWN: Final = 80


def is_planned(run: Run) -> bool:
    """Whether releases need an approval.

    Raises:
        Stalled: UnsupportedField; the annotation has another value than ``plan``.

    """
    mode = annotations_of(run.obj).get(MODE, "")
    if mode not in {"", _PLAN}:
        raise Stalled(
            reasons.UNSUPPORTED_FIELD, f"annotation {MODE}: {mode[:50]!r} is not {_PLAN!r}"
        )
    return mode == _PLAN


def approval(run: Run) -> str:
    """The digest that is approved, as far as it may be shown; ``""`` for none."""
    return annotations_of(run.obj).get(APPROVE, "")[:_SHOWN]


def carried_out(run: Run, release: Release) -> None:
    """Note in the status that the approval has been used.

    Args:
        run: that needed it, or one that finds what a killed process has left.
        release: the revision that was made by it.

    """
    plan = run.approved or approval(run) or "(unknown)"
    message = (
        f"Plan {plan} was carried out as release {release.namespace}/{release.name}"
        f".v{release.version} of {release.info.last_deployed}"
    )
    verdict.mark(run, reasons.APPROVED, "True", reasons.PLAN_CARRIED_OUT, message)


def found(run: Run, release: Release) -> None:
    """Note that a release is there which the status knows nothing of: others', or a killed run's.

    Plans of before it count no longer, for one of them may have made it.
    """
    message = (
        f"Release {release.namespace}/{release.name}.v{release.version} of"
        f" {release.info.last_deployed} was found: plans of before it do not count"
    )
    verdict.mark(run, reasons.APPROVED, "Unknown", reasons.RELEASE_FOUND, message)


def last_carried_out(run: Run) -> str:
    """What tells the last plan that was carried out from all others; ``""`` if there is none."""
    last = conditions.get_condition(run.status.conditions, reasons.APPROVED)
    return last.message if last is not None else ""
