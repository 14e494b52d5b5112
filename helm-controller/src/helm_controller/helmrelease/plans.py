"""Plans that somebody approves before anything is released: annotation ``fluvial.dev/mode: plan``.

What an install or upgrade would do is asked of the server as the tenant, and told with its digest.
Only when ``fluvial.dev/approve`` has that digest is it done, with the very manifest that the plan
was made of. A chart that renders differently, a cluster that has changed, other values or other
options make another plan with another digest, and so does it that a plan has been carried out: an
old approval approves nothing new.

The digest is published, so nothing that a Secret has goes into it: of an object that is masked
counts that it would change. What goes in for it, the digests of values and chart, is in statuses
anyway.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson

from fluvial.api.helm_status import Snapshot
from fluvial.apply import Action
from fluvial.apply.masking import is_secret
from fluvial.errors import FluvialError
from fluvial.helm.making import changes_nothing
from fluvial.helm.manifest import objects_of
from fluvial.helm.options import ApplyOptions
from fluvial.helm.preview import Preview, preview
from fluvial.helm.release import Release
from fluvial.objects import JsonObject, ref_of
from fluvial.runtime.outcome import Failed, Stalled, Waiting
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.approvals import APPROVE, approval, is_planned, last_carried_out
from helm_controller.helmrelease.rendering import Made
from helm_controller.helmrelease.run import Run

__all__ = ["Plans", "adopts"]

_WORDS: Final = {
    Action.CREATED: "to create",
    Action.CONFIGURED: "to change",
    Action.DELETED: "to delete",
    Action.SKIPPED: "to keep",
    Action.UNCHANGED: "unchanged",
}


_NO_OPTIONS: Final = frozenset(
    {
        *("interval", "suspend", "timeout", "dependsOn", "driftDetection", "healthCheckExprs"),
        *("maxHistory", "persistentClient", "waitStrategy"),
        *("chart", "chartRef", "values", "valuesFrom"),
    }
)
"""Fields of the spec that change nothing of what is released, or what they lead to counts."""


@dataclass(frozen=True, slots=True)
class Plans:
    """Makes plans and looks for their approval.

    Attributes:
        stage: tells of them.

    """

    stage: Stage

    async def agreed(
        self,
        run: Run,
        make: Callable[[], Awaitable[Made]],
        *,
        current: Release | None,
        options: ApplyOptions,
        may_adopt: bool = False,
    ) -> Made | None:
        """What may be released, where releases need an approval; ``None`` where they do not.

        Args:
            run: with target.
            make: renders what would be released.
            current: what it would start from.
            options: how it would be done.
            may_adopt: what changes nothing of ``current`` needs no approval.

        Raises:
            Waiting: AwaitingApproval.
            Failed: PlanFailed; the server would refuse it, or no plan could be made.

        """
        if not is_planned(run):
            return None
        try:
            made = await make()
            if may_adopt and current is not None and await adopts(run, current, made):
                return made
            await self._approved(run, made, current=current, options=options)
        except (Waiting, Stalled, Failed):
            raise
        except FluvialError as error:
            raise Failed(reasons.PLAN_FAILED, f"no plan could be made: {error}") from error
        return made

    async def _approved(
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
            *(release.metadata.uid, last_carried_out(run), _options(run)),
            *(old, newest.digest, run.status.storage_namespace),
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
        given = approval(run)
        if given == digest:
            run.approved = digest
            return
        message = f"{what} awaits approval: {summary}; approve it by annotation {APPROVE}={digest}"
        if given:
            message += f" (what is approved now, {given}, is another plan)"
        if run.memory.planned != digest:
            run.memory.planned = digest
            self.stage.tell(run, "Normal", reasons.AWAITING_APPROVAL, f"{message}\n{details}")
        raise Waiting(reasons.AWAITING_APPROVAL, message, after=run.spec_of.spec.interval_seconds)


async def adopts(run: Run, before: Release, made: Made) -> bool:
    """Whether a release of others is what an upgrade would make, and is taken over as it is."""
    return await changes_nothing(before, made.release, origin=run.owner.labels)


def _summary(plan: Preview) -> str:
    counts = Counter(one.action for one in plan.objects)
    told = [f"{counts[action]} {word}" for action, word in _WORDS.items() if counts[action]]
    return ", ".join(told) or "no objects"


async def _digest(run: Run, made: Made, current: Release | None, plan: Preview) -> str:
    digest = hashlib.sha256()
    texts = [made.release.manifest, *(hook.manifest for hook in made.release.hooks)]
    objects = [obj for text in texts for obj in await objects_of(text)]
    parts = [
        *(run.spec_of.metadata.uid, last_carried_out(run), _options(run)),
        str(run.chart),
        run.source.artifact.digest if run.source else "",
        run.config_digest,
        _revision(current) if current is not None else "",
        *(f"{one.path} {hashlib.sha256(one.text.encode()).hexdigest()}" for one in made.crds),
        *(_shown(run, obj) for obj in objects),
        plan.text(),
    ]
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return f"sha256:{digest.hexdigest()}"


def _options(run: Run) -> str:
    """All that the spec says of what is done where, as whom and how."""
    spec = {key: value for key, value in run.obj["spec"].items() if key not in _NO_OPTIONS}
    return orjson.dumps(spec, option=orjson.OPT_SORT_KEYS).decode()


def _revision(release: Release) -> str:
    """What tells a revision from all others, also from one that had the same number before."""
    info = release.info
    return f"{release.version} {info.status} {info.first_deployed} {info.last_deployed}"


def _shown(run: Run, obj: JsonObject) -> str:
    if is_secret(obj):
        return str(ref_of(obj))
    return run.masker.text(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS).decode())
