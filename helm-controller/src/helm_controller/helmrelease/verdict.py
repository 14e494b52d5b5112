"""Conditions of a HelmRelease: what each action says of itself, and what they say together.

``Ready`` is the summary of ``Remediated``, ``TestSuccess`` (where tests count) and ``Released``:
the one that is about the newest generation counts, and of equal ones the first. That something had
to be remediated is never a success.
"""

from __future__ import annotations

from typing import Final, Literal

from fluvial.api.helm_actions import Test
from fluvial.api.meta import Condition, ConditionStatus
from fluvial.helm.digests import common_metadata_digest, post_renderers_digest
from fluvial.runtime import conditions
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.run import Run

__all__ = ["Verb", "failure", "full_name", "mark", "progressing", "rendered", "summarise"]

Verb = Literal["install", "upgrade", "test", "rollback", "uninstall"]

_ORDER: Final = (reasons.REMEDIATED, reasons.TEST_SUCCESS, reasons.RELEASED)


def full_name(run: Run) -> str:
    """``apps/web with chart podinfo@6.5.0``, before there is a revision."""
    release = run.spec_of
    return f"{release.release_namespace}/{release.release_name} with chart {run.chart}"


def failure(run: Run, reason: str) -> str:
    """Why an action has failed: by itself, for ``reason``, or since its wait was ended."""
    return reasons.HEALTH_CHECK_CANCELED if run.turn.interruption.hit else reason


def mark(run: Run, type_: str, status: ConditionStatus, reason: str, message: str) -> None:
    """Set a condition, masked."""
    run.set_condition(type_, status, reason, run.masker.text(message))


def progressing(run: Run, message: str) -> None:
    """Say that something is under way, and what."""
    mark(run, conditions.RECONCILING, "True", reasons.PROGRESSING, message)
    mark(run, reasons.READY, "Unknown", reasons.PROGRESSING, "Reconciliation in progress")


def summarise(run: Run) -> None:
    """Set ``Ready`` from what the actions said; nothing where none has said anything."""
    found = _decisive(run)
    if found is None:
        return
    status: ConditionStatus = "False" if found.type == reasons.REMEDIATED else found.status
    mark(run, reasons.READY, status, found.reason, found.message)
    if status == "True":
        run.clear(conditions.STALLED)
        rendered(run)


def rendered(run: Run) -> None:
    """Note what the newest revision was rendered with, ready or not: it need not be made again."""
    spec = run.spec_of.spec
    run.status.observed_post_renderers_digest = post_renderers_digest(spec.post_renderers)
    run.status.observed_common_metadata_digest = common_metadata_digest(spec.common_metadata)


def _decisive(run: Run) -> Condition | None:
    test = run.spec_of.spec.test or Test()
    counts = test.enable and not test.ignore_failures
    best: Condition | None = None
    for type_ in _ORDER:
        one = conditions.get_condition(run.status.conditions, type_)
        if one is None or (type_ == reasons.TEST_SUCCESS and not counts):
            continue
        if best is None or one.observed_generation > best.observed_generation:
            best = one
    return best
