"""Whether objects still are as they were released, and what makes them so again.

Each object of the stored manifest is applied in a dry run as the tenant, and what the server makes
of it is compared with what is there. Paths that are to be ignored have the live value in both. An
object that is gone is made again; one that differs is applied again, or patched where it has
ignored paths, because to apply it without them would delete what is there, and where the client
applies, because its fields are not those of an applier.

What was compared may be remembered in a ``Verified``. An object that was as released, and of which
nobody has learned since that it may have changed, costs no request; one that has another version,
but in which nothing beyond status has changed, costs one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fluvial.api.kustomize import DriftIgnoreRule
from fluvial.apply.bounded import map_bounded
from fluvial.apply.diff import ObjectDiff, compare
from fluvial.apply.errors import Failure
from fluvial.apply.hashing import desired_hash, live_hash
from fluvial.apply.live import known_as, uid_of
from fluvial.apply.model import Known, Target, Verified
from fluvial.apply.policy import is_disabled
from fluvial.helm.clientside.writer import ClientSide
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.helm.errors import ObjectsFailed
from fluvial.helm.manifest import objects_of
from fluvial.helm.pointers import patch_between, with_values_of
from fluvial.helm.release import Release
from fluvial.helm.selectors import ObjectMatcher
from fluvial.kube.errors import ApiError
from fluvial.objects import JsonObject

__all__ = ["Change", "DriftReport", "DriftedObject", "IgnoreRules", "correct_drift", "detect_drift"]

_DISABLED = "driftDetection"


class Change(StrEnum):
    """How an object differs."""

    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class DriftedObject:
    """One object that is not as it was released.

    Attributes:
        located: the object as it was released, with the release's marks.
        change: how it differs.
        patch: what would make it right; empty where it is gone.
        ignores: whether it has paths that are left as they are.
        diff: the differences, masked.

    """

    located: Located
    change: Change
    patch: tuple[JsonObject, ...] = field(default=(), repr=False)
    ignores: bool = False
    diff: ObjectDiff = field(default_factory=ObjectDiff)

    def __str__(self) -> str:
        """``Deployment/ns/name changed (0 additions, 1 changes, 0 removals)``, as in Flux."""
        if self.change is Change.REMOVED:
            return f"{self.located.ref} removed"
        operations = [one["op"] for one in self.patch]
        return (
            f"{self.located.ref} changed ({operations.count('add')} additions,"
            f" {operations.count('replace')} changes, {operations.count('remove')} removals)"
        )


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a comparison has found.

    Attributes:
        drifts: the objects that differ, in the order of the manifest.
        failures: objects that could not be compared.

    """

    drifts: tuple[DriftedObject, ...] = ()
    failures: tuple[Failure, ...] = ()

    def raise_unless_found(self) -> None:
        """Raise ObjectsFailed where nothing was found but not everything was looked at."""
        if self.failures and not self.drifts:
            raise ObjectsFailed(self.failures)

    def summary(self) -> str:
        """One line for each object."""
        return "\n".join(map(str, self.drifts))


class IgnoreRules:
    """``spec.driftDetection.ignore``, made ready.

    Args:
        rules: in their order.

    Raises:
        InvalidSelector: a rule's target cannot be read.

    """

    def __init__(self, rules: Iterable[DriftIgnoreRule] = ()) -> None:
        self._rules = [(ObjectMatcher.of(rule.target), rule.paths) for rule in rules]

    def paths(self, obj: JsonObject) -> tuple[str, ...]:
        """The paths that are ignored in an object; ``""`` among them is all of it."""
        found = [path for matcher, paths in self._rules if matcher.matches(obj) for path in paths]
        return tuple(dict.fromkeys(found))


async def detect_drift(
    target: Target, release: Release, rules: IgnoreRules, *, known: Verified | None = None
) -> DriftReport:
    """Compare the objects of a revision with the cluster; writes nothing.

    Args:
        target: where and as whom.
        release: the deployed revision.
        rules: what is ignored.
        known: what was found before, and takes in what is found now; ``None`` compares everything.

    Raises:
        ManifestError: the manifest is not a stream of objects.
        NoMatch: the server does not serve a kind.

    """
    objects = ReleaseObjects(target, name=release.name, namespace=release.namespace)
    located = objects.marked(await objects.locate(await objects_of(release.manifest)))
    known = Verified() if known is None else known
    known.retain(one.ref for one in located)
    detection = _Detection(target, objects, rules, known)
    found = await map_bounded(
        detection.look, located, limit=target.concurrency, name="release-drift"
    )
    drifts = tuple(one for one in found if isinstance(one, DriftedObject))
    return DriftReport(drifts, tuple(one for one in found if isinstance(one, Failure)))


class _Detection:
    """One comparison."""

    def __init__(
        self, target: Target, objects: ReleaseObjects, rules: IgnoreRules, known: Verified
    ) -> None:
        self._target = target
        self._objects = objects
        self._rules = rules
        self._known = known

    async def look(self, one: Located) -> DriftedObject | Failure | None:
        paths = self._rules.paths(one.obj)
        if "" in paths or self._is_left_out(one.obj):
            self._known.forget(one.ref)
            return None
        digest = desired_hash({"object": one.obj, "ignored": paths})
        before = self._known.get(one.ref)
        if before is not None and before.desired_hash != digest:
            before = None
        if before is not None and not self._known.is_suspect(one.ref):
            return None
        try:
            live = await self._objects.live(one)
            if live is not None and (self._is_left_out(live) or _is_as_known(live, before)):
                self._known.record(one.ref, known_as(digest, live))
                return None
            drift = await self._compare(one, live, paths)
        except ApiError as error:
            self._known.forget(one.ref)
            return self._objects.failure(one, error, during="dry-run")
        # What has drifted is compared again, whatever becomes of it.
        self._known.record(one.ref, known_as("" if drift else digest, live or {}))
        return drift

    async def _compare(
        self, one: Located, live: JsonObject | None, paths: tuple[str, ...]
    ) -> DriftedObject | None:
        if live is None:
            return DriftedObject(one, Change.REMOVED)
        result = await self._target.client.apply(
            one.resource,
            one.key,
            one.obj,
            field_manager=self._target.field_manager,
            dry_run=True,
        )
        wanted = with_values_of(result, live, paths)
        patch = patch_between(live, wanted)
        if not patch:
            return None
        diff = compare(live, wanted, masker=self._target.masker)
        return DriftedObject(one, Change.CHANGED, tuple(patch), bool(paths), diff)

    def _is_left_out(self, obj: JsonObject) -> bool:
        return is_disabled(obj, self._target.owner, name=_DISABLED)


def _is_as_known(live: JsonObject, before: Known | None) -> bool:
    """Whether nothing has changed since the same was compared, beyond status and version."""
    return before is not None and before.uid == uid_of(live) and before.live_hash == live_hash(live)


async def correct_drift(
    target: Target, release: Release, drifts: Sequence[DriftedObject]
) -> tuple[tuple[DriftedObject, ...], tuple[Failure, ...]]:
    """Make objects again what was released, one after the other, whatever becomes of each.

    Args:
        target: where and as whom.
        release: the deployed revision.
        drifts: what ``detect_drift`` has found.

    Returns:
        Those that were corrected, and why others could not be.

    """
    objects = ReleaseObjects(target, name=release.name, namespace=release.namespace)
    corrected: list[DriftedObject] = []
    failures: list[Failure] = []
    for drift in drifts:
        one = drift.located
        try:
            if drift.change is Change.REMOVED and not release.server_side:
                await ClientSide(target, originals={}).apply(objects, [one])
            elif drift.change is Change.CHANGED and (drift.ignores or not release.server_side):
                await target.client.patch(
                    one.resource,
                    one.key,
                    list(drift.patch),
                    patch_type="json",
                    field_manager=target.field_manager,
                )
                if release.server_side:
                    await objects.own_fields(one)
            else:
                await objects.apply([one], strict=False)
        except ApiError as error:
            failures.append(objects.failure(one, error, during="apply"))
        except ObjectsFailed as error:
            failures += error.failures
        else:
            corrected.append(drift)
    return tuple(corrected), tuple(failures)
