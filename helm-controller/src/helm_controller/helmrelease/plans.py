"""Plans that somebody approves before anything is released: annotation ``fluvial.dev/mode: plan``.

What an install or upgrade would do is asked of the server as the tenant, and told with its digest.
Only when ``fluvial.dev/approve`` has that digest is it done, with the very manifest that the plan
was made of. A chart that renders differently, a cluster that has changed or other values make
another plan with another digest, so an old approval approves nothing new.

The digest is published, so nothing that a Secret has goes into it: of an object that is masked
counts that it would change. What goes in for it, the digests of values, chart and post-renderers,
is in statuses anyway.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

import orjson

from fluvial.api.helm_status import Snapshot
from fluvial.apply import Action
from fluvial.apply.masking import is_secret
from fluvial.helm.digests import post_renderers_digest
from fluvial.helm.manifest import objects_of
from fluvial.helm.options import ApplyOptions
from fluvial.helm.preview import Preview, preview
from fluvial.helm.release import Release
from fluvial.objects import JsonObject, annotations_of, ref_of
from fluvial.runtime.outcome import Failed, Stalled, Waiting
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.rendering import Made
from helm_controller.helmrelease.run import Run

__all__ = ["APPROVE", "MODE", "Plans", "is_planned"]

MODE: Final = "fluvial.dev/mode"
APPROVE: Final = "fluvial.dev/approve"

_PLAN: Final = "plan"
_WORDS: Final = {
    Action.CREATED: "to create",
    Action.CONFIGURED: "to change",
    Action.DELETED: "to delete",
    Action.SKIPPED: "to keep",
    Action.UNCHANGED: "unchanged",
}


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


@dataclass(frozen=True, slots=True)
class Plans:
    """Makes plans and looks for their approval.

    Attributes:
        stage: tells of them.

    """

    stage: Stage

    async def approved(
        self, run: Run, made: Made, *, current: Release | None, options: ApplyOptions
    ) -> None:
        """Return if this plan has been approved.

        Args:
            run: with target.
            made: what would be released.
            current: what it would start from.
            options: how it would be done.

        Raises:
            Waiting: AwaitingApproval.
            Failed: PlanFailed; the server would refuse some objects.
            HelmError, NoMatch, ApiError: no plan could be made.

        """
        assert run.target is not None  # noqa: S101  # known by a step before
        plan = await preview(
            run.target,
            made.release,
            current=current,
            take_ownership=options.take_ownership,
            force=options.force,
        )
        if plan.failures:
            problems = "; ".join(one.message for one in plan.failures)
            raise Failed(reasons.PLAN_FAILED, f"the release would fail: {problems}")
        listed = "\n".join(f"CustomResourceDefinition file {one.path}" for one in made.crds)
        self._demand(
            run,
            await _digest(run, made, current, plan),
            f"{'upgrade' if current is not None else 'install'} of chart {run.chart}",
            summary=_summary(plan),
            details=f"{plan.text()}\n{listed}",
        )

    def approved_move(self, run: Run, newest: Snapshot, *, changed: str) -> None:
        """Return if it has been approved that a release is uninstalled to be made elsewhere.

        Args:
            run: with chart and target.
            newest: of the release that would be uninstalled.
            changed: what is another one now.

        Raises:
            Waiting: AwaitingApproval.

        """
        old = f"{newest.namespace}/{newest.name}.v{newest.version}"
        release = run.spec_of
        parts = (
            *(release.metadata.uid, old, newest.digest, run.status.storage_namespace),
            *(release.storage_namespace, release.release_namespace, release.release_name),
            run.chart.described.name if run.chart else "",
        )
        digest = hashlib.sha256("\0".join(parts).encode())
        inventory = run.status.inventory
        listed = [one.id for one in inventory.entries] if inventory else []
        self._demand(
            run,
            f"sha256:{digest.hexdigest()}",
            f"uninstall of release {old}",
            summary=f"the {changed} changes",
            details="\n".join(listed),
        )

    def _demand(self, run: Run, digest: str, what: str, *, summary: str, details: str) -> None:
        given = annotations_of(run.obj).get(APPROVE, "")
        if given == digest:
            return
        message = f"{what} awaits approval: {summary}; approve it by annotation {APPROVE}={digest}"
        if given:
            message += f" (what is approved now, {given[:80]}, is another plan)"
        if run.memory.planned != digest:
            run.memory.planned = digest
            self.stage.tell(run, "Normal", reasons.AWAITING_APPROVAL, f"{message}\n{details}")
        raise Waiting(reasons.AWAITING_APPROVAL, message, after=run.spec_of.spec.interval_seconds)


def _summary(plan: Preview) -> str:
    counts = Counter(one.action for one in plan.objects)
    told = [f"{counts[action]} {word}" for action, word in _WORDS.items() if counts[action]]
    return ", ".join(told) or "no objects"


async def _digest(run: Run, made: Made, current: Release | None, plan: Preview) -> str:
    digest = hashlib.sha256()
    texts = [made.release.manifest, *(hook.manifest for hook in made.release.hooks)]
    objects = [obj for text in texts for obj in await objects_of(text)]
    parts = [
        run.spec_of.metadata.uid,
        str(run.chart),
        run.source.artifact.digest if run.source else "",
        run.config_digest,
        post_renderers_digest(run.spec_of.spec.post_renderers),
        f"{current.version} {current.info.status}" if current is not None else "",
        *(f"{one.path} {hashlib.sha256(one.text.encode()).hexdigest()}" for one in made.crds),
        *(_shown(run, obj) for obj in objects),
        plan.text(),
    ]
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return f"sha256:{digest.hexdigest()}"


def _shown(run: Run, obj: JsonObject) -> str:
    if is_secret(obj):
        return str(ref_of(obj))
    return run.masker.text(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS).decode())
