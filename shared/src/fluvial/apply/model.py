"""The values that flow through this room: owner, target, options, known state, change sets.

``Target`` says where and as whom; ``Verified`` is what one Kustomization remembers in memory
between its runs; a ``ChangeSet`` is a stage's plan, complete with the bytes that will be sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from fluvial.apply.diff import ObjectDiff
from fluvial.apply.health_kinds import Health
from fluvial.apply.inventory import Entry, Inventory
from fluvial.apply.masking import Masker
from fluvial.clock import Clock, RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import GroupVersionKind, JsonObject, ObjectKey, ObjectRef, labels_of

__all__ = [
    "Action",
    "ApplyOptions",
    "ApplyResult",
    "Change",
    "ChangeSet",
    "HealthReader",
    "Known",
    "Mapper",
    "Owner",
    "PlannedChange",
    "Target",
    "Verified",
    "change_log",
]

FIELD_MANAGER = "kustomize-controller"


class HealthReader(Protocol):
    """How the health of some kinds is read; ``fluvial.apply.expressions`` has one."""

    def covers(self, ref: ObjectRef) -> bool:
        """Whether it is for an object of this kind."""
        ...

    async def read(self, ref: ObjectRef, live: JsonObject) -> Health:
        """Status of an object; unknown, with the reason, where it cannot be told."""
        ...


class Mapper(Protocol):
    """What this room asks of ``fluvial.kube.discovery.RestMapper``."""

    async def resource_for(self, gvk: GroupVersionKind) -> Resource:
        """The resource of a kind; raises ``NoMatch``."""
        ...

    async def resource_for_kind(self, group: str, kind: str, *, version_hint: str = "") -> Resource:
        """The resource of a kind in any version, preferably the hint; raises ``NoMatch``."""
        ...

    def invalidate(self) -> None:
        """Forget what is cached: a definition has changed."""
        ...

    def crd_appeared(self, group: str) -> None:
        """A definition of a group was made or changed: believe no miss in it for a while."""
        ...

    async def has_kind_fresh(self, group: str, kind: str) -> bool:
        """Whether a complete fresh discovery has the kind."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects these are.

    Args:
        group: API group of the owner's kind, the prefix of labels and annotations:
            ``kustomize.toolkit.fluxcd.io``.
        kind: ``Kustomization``; for messages and for leaving the owner itself out of health.
        namespace: the owner's namespace.
        name: the owner's name.

    """

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def labels(self) -> dict[str, str]:
        """The two labels that every owned object carries."""
        return {f"{self.group}/name": self.name, f"{self.group}/namespace": self.namespace}

    @property
    def selector(self) -> str:
        """Label selector for the owner's objects."""
        return ",".join(f"{key}={value}" for key, value in self.labels.items())

    def owns(self, obj: JsonObject) -> bool:
        """Whether an object's labels name this owner."""
        labels = labels_of(obj)
        return all(labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go, and as whom.

    Args:
        client: a view with the tenant's identity (impersonated; remote: the kubeconfig's).
        mapper: discovery of the same cluster.
        owner: whose objects these are.
        field_manager: manager of the applied fields; ``kustomize-controller`` as in Flux.
        masker: hides every string that came from a Secret.
        clock: time for bounded waits.
        concurrency: requests in flight at once for this set (Flux: ``--concurrent-ssa``).
        health: how the health of some kinds is read; ``None`` reads all by the usual rules.

    """

    client: KubeClient
    mapper: Mapper
    owner: Owner
    field_manager: str = FIELD_MANAGER
    masker: Masker = field(default_factory=Masker)
    clock: Clock = field(default_factory=RealClock)
    concurrency: int = 4
    health: HealthReader | None = None


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a set is applied.

    Args:
        force: recreate objects whose change the API refuses as immutable (``spec.force``).
        override_managers: more field managers whose fields are taken over (prefixes).
        custom_stage_kinds: ``group/Kind`` that are applied before the rest.
        trust_known: use ``Verified``; ``False`` forgets it first, so that everything is compared
            live (``requestedAt``).
        always_dry_run: also where a PATCH would be the check (diff, preview, approvals).
        stage_timeout: seconds until definitions and classes must be usable.
        recreate_timeout: seconds until an object that is being recreated must be gone.

    """

    force: bool = False
    override_managers: tuple[str, ...] = ()
    custom_stage_kinds: tuple[str, ...] = ()
    trust_known: bool = True
    always_dry_run: bool = False
    stage_timeout: float = 60.0
    recreate_timeout: float = 60.0


class Action(StrEnum):
    """What happens to an object; the values are Flux's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to one object. ``str()`` is Flux's line: ``Kind/ns/name created``."""

    ref: ObjectRef
    version: str
    action: Action
    reason: str = ""
    job_with_ttl: bool = False
    recreated: bool = False

    def __str__(self) -> str:
        return f"{self.ref} {self.action}"

    def with_action(self, action: Action) -> Change:
        """The same object with another outcome."""
        return replace(self, action=action)


def change_log(changes: Iterable[Change], *, all_actions: bool = False) -> str:
    """Flux's change log: a line for each change; without the unchanged and skipped by default."""
    quiet = {Action.UNCHANGED, Action.SKIPPED}
    return "\n".join(str(one) for one in changes if all_actions or one.action not in quiet)


@dataclass(frozen=True, slots=True)
class Known:
    """What was verified about an object: what was wanted, and what was live then.

    Attributes:
        desired_hash: of what was wanted.
        live_hash: of what was live, as ``hashing.live_hash`` has it.
        uid: of the live object.
        resource_version: of the live object.
        skipped: it is left alone, because an annotation says so.
        outline: of the live object, as ``hashing.outline`` has it.

    """

    desired_hash: str
    live_hash: str
    uid: str
    resource_version: str
    skipped: bool = False
    outline: int = 0


class Verified:
    """What one owner's set is known to be, from its former runs; in memory, hashes only.

    A known object that is not suspect costs no request. After a start nothing is known. Whoever
    learns that an object may have changed calls ``suspect``; its next plan reads it again, and
    only a difference beyond status costs a dry run.
    """

    __slots__ = ("_known", "_suspects", "_whole")

    def __init__(self) -> None:
        self._known: dict[ObjectRef, Known] = {}
        self._suspects: set[ObjectRef] = set()
        self._whole = ""

    def get(self, ref: ObjectRef) -> Known | None:
        """What is known of an object, suspect or not."""
        return self._known.get(ref)

    def is_suspect(self, ref: ObjectRef) -> bool:
        """Whether the object may have changed since it was verified."""
        return ref in self._suspects

    def record(self, ref: ObjectRef, known: Known) -> None:
        """An object has just been verified."""
        before = self._known.get(ref)
        if before is None or before.desired_hash != known.desired_hash:
            self._whole = ""
        self._known[ref] = known
        self._suspects.discard(ref)

    def forget(self, ref: ObjectRef) -> None:
        """Nothing is known of the object any more."""
        self._known.pop(ref, None)
        self._suspects.discard(ref)
        self._whole = ""

    def suspect(self, ref: ObjectRef) -> bool:
        """The object may have changed; returns whether it was known at all."""
        if ref not in self._known:
            return False
        self._suspects.add(ref)
        return True

    def observe(self, versions: Mapping[ObjectRef, tuple[str, str]]) -> list[ObjectRef]:
        """Compare with ``(uid, resourceVersion)`` just listed; differing objects become suspect.

        Returns:
            Every known object that was not listed, or not with the version that was verified.

        """
        changed = [
            ref
            for ref, known in self._known.items()
            if versions.get(ref) != (known.uid, known.resource_version)
        ]
        self._suspects.update(changed)
        return changed

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._suspects.clear()
        self._whole = ""

    def retain(self, refs: Iterable[ObjectRef]) -> None:
        """Forget every object that is not among these."""
        keep = set(refs)
        for ref in [ref for ref in self._known if ref not in keep]:
            self.forget(ref)

    def complete(self, set_digest: str) -> None:
        """The whole set with this digest has been applied or found in place."""
        self._whole = set_digest

    def covers(self, set_digest: str) -> bool:
        """Whether the set with this digest is in place as far as is known: nothing to do."""
        return bool(set_digest) and self._whole == set_digest and not self._suspects

    def __iter__(self) -> Iterator[ObjectRef]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One object's plan.

    Attributes:
        change: reference, version and action (created, configured, unchanged, skipped).
        resource: where it is served.
        body: the bytes of the server-side apply, with ``metadata.uid`` and resourceVersion where
            an object is expected (the server then refuses any other); ``b""`` where nothing is
            sent.
        desired_hash: of the normalised desired object.
        desired: the desired object, for hiding a Secret's values in messages; ``None`` where
            nothing is sent.
        expected_uid: uid of the live object, ``""`` if none is expected.
        expected_version: resourceVersion of the live object that was compared.
        live_hash: of the live object without status, managedFields and resourceVersion.
        cleanup: JSON patch that takes over field managers before the apply; empty if none.
        recreate: delete the live object first (force).
        checked: the server's dry run passed; ``False`` where the PATCH itself is the check.
        ready: what is live now is usable by later stages.
        diff: live against the dry run's result, masked; ``None`` if not checked.

    """

    change: Change
    resource: Resource | None
    key: ObjectKey
    body: bytes
    desired_hash: str
    desired: JsonObject | None = None
    expected_uid: str = ""
    expected_version: str = ""
    live_hash: str = ""
    cleanup: tuple[JsonObject, ...] = ()
    recreate: bool = False
    checked: bool = False
    ready: bool = False
    diff: ObjectDiff | None = None

    @property
    def writes(self) -> bool:
        """Whether applying it sends anything."""
        return self.change.action in {Action.CREATED, Action.CONFIGURED}


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The plan of one stage, in apply order; every check has passed."""

    stage: str
    planned: tuple[PlannedChange, ...]
    entries: tuple[Entry, ...]

    @property
    def writes(self) -> bool:
        """Whether applying it sends anything."""
        return any(one.writes for one in self.planned)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The whole set has been applied.

    Attributes:
        changes: one for each object, in the order of apply.
        inventory: the new inventory, in Flux's order, skipped objects included.

    """

    changes: tuple[Change, ...]
    inventory: Inventory

    @property
    def changed(self) -> bool:
        """Whether anything was created or configured."""
        return any(one.action in {Action.CREATED, Action.CONFIGURED} for one in self.changes)

    def log(self) -> str:
        """Flux's change log of what was created or configured."""
        return change_log(self.changes)

    def health_refs(self) -> tuple[ObjectRef, ...]:
        """What ``spec.wait`` waits for: everything but what was skipped."""
        return tuple(one.ref for one in self.changes if one.action is not Action.SKIPPED)

    def jobs_with_ttl(self) -> frozenset[ObjectRef]:
        """Jobs whose absence is success, because they clean themselves up."""
        return frozenset(one.ref for one in self.changes if one.job_with_ttl)
