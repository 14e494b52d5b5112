"""A release's objects in the cluster: found, claimed, applied, waited for and deleted.

Everything is done as the tenant whose ``Target`` this is. Objects go in the order of their kinds,
those of one kind side by side. ``apply`` is a server-side apply that takes conflicting fields; other
ways of writing are given to ``write_each``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypeVar

from fluvial.apply.bounded import map_bounded
from fluvial.apply.errors import Failure, FailureReason
from fluvial.apply.failures import failure_of
from fluvial.apply.health_reader import is_ready_at_once
from fluvial.apply.live import scoped, uid_of
from fluvial.apply.managers import take_over
from fluvial.apply.model import Target
from fluvial.build.pace import Pace
from fluvial.helm.errors import (
    ManifestError,
    MergeError,
    ObjectsFailed,
    OwnershipError,
)
from fluvial.helm.ownership import is_anothers, is_kept, marked, not_owned, sparing_finalizers
from fluvial.helm.steps import ActionLog
from fluvial.kube.client import Propagation
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import ApiError, Conflict, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, gvk_of, key_of

__all__ = ["Deleted", "Located", "Pause", "ReleaseObjects", "of_another"]

Pause = Callable[[float], Awaitable[None]]

Outcome = TypeVar("Outcome")

_FIRST_DELAY: Final = 0.05
_ATTEMPTS: Final = 5
_LONGEST_MESSAGE: Final = 600
_HELMS: Final = ("helm", "Helm")
"""Prefixes of the managers under which Helm and Flux have written objects."""


@dataclass(frozen=True, slots=True)
class Located:
    """An object with its address; it has a namespace exactly where its kind has one."""

    obj: JsonObject = field(repr=False)
    ref: ObjectRef
    resource: Resource
    key: ObjectKey


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object that was told to go.

    Attributes:
        located: the object.
        uid: tells it from a new one of its name.
        gone: the API server's answer says that it is there no longer.

    """

    located: Located
    uid: str
    gone: bool = False


class ReleaseObjects:
    """What can be done with the objects of one release.

    Args:
        target: where and as whom.
        name: of the release.
        namespace: of the release, which objects without one are put into.
        log: told what is done with each object.
        pause: waits for some seconds between two looks; may raise WaitEnded.

    """

    def __init__(
        self,
        target: Target,
        *,
        name: str,
        namespace: str,
        log: ActionLog | None = None,
        pause: Pause | None = None,
    ) -> None:
        self.pause = pause or target.clock.sleep
        self._target = target
        self._name = name
        self._namespace = namespace
        self._log = log

    def note(self, step: str) -> None:
        """Take note of a step, if anybody keeps a log."""
        if self._log is not None:
            self._log.add(step)

    async def locate_known(self, objects: Iterable[JsonObject]) -> list[Located]:
        """Find out where objects of a former revision are, without those whose kind is gone.

        Raises:
            NoMatch: a kind is not found, but nobody knows that it is gone.

        """
        pace = Pace()
        found = []
        for obj in objects:
            try:
                found.append(await self._locate(obj))
            except NoMatch:
                gvk = gvk_of(obj)
                if await self._target.mapper.has_kind_fresh(gvk.group, gvk.kind):
                    raise
            await pace.breathe()
        return found

    async def locate(self, objects: Iterable[JsonObject]) -> list[Located]:
        """Find out where objects go; of one that is there twice the last one counts.

        Raises:
            ManifestError: an object has no name.
            NoMatch: the server does not serve a kind.

        """
        pace = Pace()
        found: dict[ObjectRef, Located] = {}
        for obj in objects:
            one = await self._locate(obj)
            found[one.ref] = one
            await pace.breathe()
        return list(found.values())

    async def _locate(self, obj: JsonObject) -> Located:
        resource = await self._target.mapper.resource_for(gvk_of(obj))
        if not key_of(obj).name:
            raise ManifestError(f"an object of kind {resource.kind} has no metadata.name")
        if resource.namespaced and not key_of(obj).namespace:
            obj = {**obj, "metadata": {**obj["metadata"], "namespace": self._namespace}}
        plain, ref, key = scoped(obj, resource)
        return Located(plain, ref, resource, key)

    def marked(self, located: Iterable[Located]) -> list[Located]:
        """The objects with the marks of the release."""
        return [
            Located(
                marked(one.obj, name=self._name, namespace=self._namespace),
                one.ref,
                one.resource,
                one.key,
            )
            for one in located
        ]

    async def existing(self, located: Sequence[Located], *, take: bool) -> set[ObjectRef]:
        """Which objects are there already.

        Args:
            located: the objects.
            take: whether those of others may be taken.

        Raises:
            OwnershipError: some belong to others and may not be taken; each is listed.
            ObjectsFailed: they could not be read.

        """
        lives = await self._each(located, self._live, during="get")
        there = [(one, live) for one, live in zip(located, lives, strict=True) if live is not None]
        if not take:
            self._refuse_others(there)
        return {one.ref for one, _ in there}

    def _refuse_others(self, there: Iterable[tuple[Located, JsonObject]]) -> None:
        problems = [
            f"{one.ref} exists and cannot be taken into release {self._name}: {why}"
            for one, live in there
            if (why := not_owned(live, name=self._name, namespace=self._namespace))
        ]
        if problems:
            raise OwnershipError("; ".join(problems))

    async def apply(
        self,
        located: Sequence[Located],
        *,
        strict: bool,
        migrate: Collection[ObjectRef] = (),
    ) -> set[ObjectRef]:
        """Write objects, kind after kind.

        Args:
            located: in their order.
            strict: have the server refuse fields that it does not know.
            migrate: of which first to make fields ours that Helm wrote by client-side apply.

        Returns:
            Those that were ready as soon as they were written, and need not be awaited.

        Raises:
            ObjectsFailed: some were refused; those of later kinds were not tried.

        """
        ready: set[ObjectRef] = set()

        async def write(one: Located) -> None:
            if one.ref in migrate:
                await self.own_fields(one)
            live = await self._target.client.apply(
                one.resource,
                one.key,
                one.obj,
                field_manager=self._target.field_manager,
                field_validation="Strict" if strict else "Ignore",
            )
            if is_ready_at_once(self._target, one.ref, live):
                ready.add(one.ref)

        await self.write_each(located, write)
        return ready

    async def write_each(
        self, located: Sequence[Located], write: Callable[[Located], Awaitable[None]]
    ) -> None:
        """Write objects, kind after kind, and again where only the quota was busy.

        Raises:
            ObjectsFailed: some were refused; those of later kinds were not tried.

        """

        async def patiently(one: Located) -> None:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    await write(one)
                except Conflict as error:
                    if attempt == _ATTEMPTS or not _is_busy_quota(error):
                        raise
                    await self._target.clock.sleep(_FIRST_DELAY * 2**attempt)
                else:
                    self.note(f"applied {one.ref}")
                    return

        for _, group in groupby(located, key=lambda one: one.ref.kind):
            await self._each(list(group), patiently, during="apply")

    async def own_fields(self, one: Located) -> None:
        """Make fields ours by apply that Helm, Flux or we own by update; raises ApiError.

        What others have, kubectl included, stays theirs, as in Helm: it is not of the release.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            live = await self._live(one)
            metadata = (live or {}).get("metadata") or {}
            fields = take_over(
                sparing_finalizers(metadata.get("managedFields") or []),
                field_manager=self._target.field_manager,
                override_managers=_HELMS,
                usual=False,
            )
            if fields is None:
                return
            version = metadata.get("resourceVersion")
            patch: list[JsonObject] = [
                {"op": "replace", "path": "/metadata/managedFields", "value": fields},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            ]
            try:
                await self._target.client.patch(
                    one.resource,
                    one.key,
                    patch,
                    patch_type="json",
                    field_manager=self._target.field_manager,
                )
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
                continue
            return

    async def delete(
        self,
        located: Sequence[Located],
        *,
        propagation: Propagation = "Background",
        spare_kept: bool = False,
        refuse_others: bool = False,
    ) -> list[Deleted]:
        """Delete objects one after the other, whatever becomes of each.

        What has come to belong to another release since is left alone, which is a failure where
        ``refuse_others``. So is, where ``spare_kept``, what is to be kept by an annotation that it
        has now. Whoever releases them is not waited for, because it waits for this.

        Raises:
            ObjectsFailed: some could not be deleted; all others were.

        """
        deleted: list[Deleted] = []
        failures: list[Failure] = []
        for one in located:
            try:
                live = await self._live(one)
                if live is None or (spare_kept and is_kept(live)):
                    continue
                if self.is_anothers(live):
                    failure = Failure(one.ref, FailureReason.OTHER, of_another(one))
                    failures += [failure] * refuse_others
                    continue
                answer = await self._target.client.delete(
                    one.resource, one.key, uid=uid_of(live), propagation=propagation
                )
                # An object is answered where it stays for a while, and by some kinds always.
                gone = answer.get("kind") == "Status"
                if not self.is_owner(one):
                    deleted.append(Deleted(one, uid_of(live), gone))
                self.note(f"deleted {one.ref}")
            except NotFound:
                continue
            except ApiError as error:
                failures.append(self.failure(one, error, during="delete"))
        if failures:
            raise ObjectsFailed(failures)
        return deleted

    def is_owner(self, one: Located) -> bool:
        """Whether an object is the very one for which all of them are released."""
        owner = self._target.owner
        return one.ref == ObjectRef(owner.group, owner.kind, owner.namespace, owner.name)

    def is_anothers(self, live: JsonObject) -> bool:
        """Whether a live object has the marks of another release."""
        return is_anothers(live, name=self._name, namespace=self._namespace)

    async def _live(self, one: Located) -> JsonObject | None:
        try:
            return await self._target.client.get(one.resource, one.key)
        except NotFound:
            return None

    async def live(self, one: Located) -> JsonObject | None:
        """The object as it is, ``None`` where it is not there; raises ApiError."""
        return await self._live(one)

    async def _each(
        self,
        located: Sequence[Located],
        function: Callable[[Located], Awaitable[Outcome]],
        *,
        during: str,
    ) -> list[Outcome]:
        """Do the same with each, and tell of every one that fails."""
        failures: list[Failure] = []
        results: dict[ObjectRef, Outcome] = {}

        async def one_of_them(one: Located) -> None:
            try:
                results[one.ref] = await function(one)
            except ApiError as error:
                failures.append(self.failure(one, error, during=during))
            except MergeError as error:
                message = f"{one.ref} {during} failed: {error}"
                failures.append(Failure(one.ref, FailureReason.INVALID, message))

        await map_bounded(
            one_of_them, located, limit=self._target.concurrency, name=f"release-{during}"
        )
        if failures:
            raise ObjectsFailed(failures)
        return [results[one.ref] for one in located]

    def failure(self, one: Located, error: ApiError, *, during: str) -> Failure:
        """What to tell of an object that was refused, without secrets."""
        base = failure_of(
            one.ref, error, masker=self._target.masker, during=during, objects=(one.obj,)
        )
        text = self._target.masker.message(str(error), one.obj)[:_LONGEST_MESSAGE]
        message = f"{one.ref} {during} failed ({error.reason or base.reason}): {text}"
        return Failure(one.ref, base.reason, message, base.retry_after)


def of_another(one: Located) -> str:
    """What is told of an object that has the marks of another release."""
    return f"{one.ref} belongs to another release"


def _is_busy_quota(error: Conflict) -> bool:
    """Whether two objects were counted against a quota at once, which says nothing of either."""
    return "resourcequotas" in error.message
