"""The records of releases in Secrets, as Helm's own tool keeps them.

A revision is one Secret, and making it is the lock: of two that want to make revision 4, one gets
``ReleaseExists`` and has to look again. What is read first are the Secrets' labels alone (a
history may have tens of MiB); a record is fetched when it is needed. Every write that took effect
is told to an observer before the call returns, so that a status knows what became of a release
even where the action that wrote it then fails.

Where Helm skips a record that it cannot read and then fails to make the next revision, the newest
record being unreadable is a ``CorruptRecord`` here, which names the Secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec

from fluvial.clock import Clock, RealClock
from fluvial.helm.errors import (
    CorruptRecord,
    RecordTooLarge,
    ReleaseExists,
    ReleaseNotFound,
    StorageError,
)
from fluvial.helm.record import decode_release, encode_release
from fluvial.helm.release import Release, Status
from fluvial.helm.seen import Revision, SeenRecords
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import AlreadyExists, ApiError, NotFound, Unreachable
from fluvial.kube.kinds import SECRET
from fluvial.objects import JsonObject, ObjectKey, labels_of

__all__ = ["LARGEST_SECRET", "RELEASE_TYPE", "ReleaseStorage", "secret_name"]

RELEASE_TYPE: Final = "helm.sh/release.v1"
LARGEST_SECRET: Final = 1024**2
"""Bytes of data that the API server takes in one Secret."""

_PREFIX: Final = "sh.helm.release.v1."
_SYSTEM_LABELS: Final = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})
_SECRET_NAME: Final = re.compile(re.escape(_PREFIX) + r"(.+)\.v([1-9][0-9]{0,8})", re.ASCII)
_AT_ONCE: Final = 64 * 1024
"""Bytes up to which a record is packed and unpacked without a thread."""

Observer = Callable[[Release], None]


def secret_name(name: str, version: int) -> str:
    """Name of the Secret that has a revision."""
    return f"{_PREFIX}{name}.v{version}"


class ReleaseStorage:
    """The records in one namespace, as one identity.

    Args:
        client: reads and writes as the tenant.
        namespace: of the Secrets; ``spec.storageNamespace``.
        observe: called with each revision that was created, updated or deleted, in that order.
        clock: for the labels that tell when.
        field_manager: of the Secrets.
        seen: what was read and written before, of which nothing is asked again; ``None`` asks.

    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        *,
        observe: Observer | None = None,
        clock: Clock | None = None,
        field_manager: str = "helm-controller",
        seen: SeenRecords | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._observe = observe
        self._clock = clock or RealClock()
        self._field_manager = field_manager
        self._seen = seen

    @property
    def namespace(self) -> str:
        """Where the records are."""
        return self._namespace

    async def revisions(self, name: str) -> list[Revision]:
        """The revisions that there are, the oldest first, by their labels alone."""
        known = self._seen.revisions(self._namespace, name) if self._seen else None
        return known if known is not None else await self._look_up(name)

    async def _look_up(self, name: str) -> list[Revision]:
        page = await self._client.list_all(
            SECRET,
            namespace=self._namespace,
            label_selector=f"name={name},owner=helm",
            metadata_only=True,
        )
        found = [_revision(item, name) for item in page.items]
        revisions = sorted(filter(None, found), key=lambda revision: revision.version)
        if self._seen is not None:
            self._seen.listed(self._namespace, name, revisions)
        return revisions

    async def get(self, name: str, version: int) -> Release:
        """One revision.

        Raises:
            ReleaseNotFound: there is none.
            CorruptRecord: it cannot be read.
            ApiError: the API server said no.

        """
        known = self._seen.record(self._namespace, name, version) if self._seen else None
        if known is not None:
            return known
        key = ObjectKey(self._namespace, secret_name(name, version))
        try:
            secret = await self._client.get(SECRET, key)
        except NotFound as error:
            raise ReleaseNotFound(f"release {name} has no revision {version}") from error
        release = await _release(secret, name, version)
        if self._seen is not None:
            self._seen.has_read(self._namespace, release)
        return release

    async def last(self, name: str) -> Release:
        """The newest revision.

        Raises:
            ReleaseNotFound: there is no revision.
            CorruptRecord: the newest cannot be read; it has to be repaired or deleted by somebody.

        """
        return await self._newest(name, await self.revisions(name))

    async def deployed(self, name: str) -> Release:
        """The newest revision that is deployed; raises as ``last``."""
        revisions = await self.revisions(name)
        return await self._newest(name, [r for r in revisions if r.status is Status.DEPLOYED])

    async def deployed_all(self, name: str) -> list[Release]:
        """All revisions that are marked as deployed, the oldest first."""
        revisions = await self.revisions(name)
        return await self._all(r for r in revisions if r.status is Status.DEPLOYED)

    async def history(self, name: str) -> list[Release]:
        """All revisions that can be read, the oldest first; holds all of them in memory."""
        return await self._all(await self.revisions(name))

    async def create(self, release: Release, *, limit: int = 0) -> None:
        """Make a revision.

        Args:
            release: complete, with the revision's number.
            limit: how many revisions to keep, this one included; all where 0. The one that is
                deployed is kept whatever the limit.

        Raises:
            ReleaseExists: the revision is there already.
            RecordTooLarge: it does not fit into a Secret.

        """
        text = await _packed(release)
        if limit > 0:
            await self._make_room(release.name, limit - 1)
        secret = self._secret(release, text, stamp="createdAt")
        try:
            made = await self._client.create(SECRET, secret, field_manager=self._field_manager)
        except AlreadyExists as error:
            self._forget(release.name)
            raise ReleaseExists(f"release {release} has been made in the meantime") from error
        except Unreachable as error:
            self._forget(release.name)
            if not error.may_have_happened or not await self._holds(release, secret):
                raise
        else:
            self._note(release, made)
        self._tell(release)

    async def update(self, release: Release) -> None:
        """Write a revision that is there again, whoever wrote it last, as Helm does.

        Raises:
            ReleaseNotFound: it is not there.
            RecordTooLarge: it does not fit into a Secret.

        """
        text = await _packed(release)
        secret = self._secret(release, text, stamp="modifiedAt")
        key = ObjectKey(self._namespace, secret_name(release.name, release.version))
        body = {"metadata": {"labels": secret["metadata"]["labels"]}, "data": secret["data"]}
        try:
            written = await self._client.patch(
                SECRET, key, body, patch_type="merge", field_manager=self._field_manager
            )
        except ApiError as error:
            self._forget(release.name)
            if not isinstance(error, NotFound):
                raise
            raise ReleaseNotFound(f"the record of release {release} is gone") from error
        self._note(release, written)
        self._tell(release)

    async def delete(self, release: Release) -> None:
        """Delete a revision; that it is gone already is as good."""
        await self._delete(release.name, release.version)
        self._tell(release)

    async def _delete(self, name: str, version: int) -> None:
        key = ObjectKey(self._namespace, secret_name(name, version))
        with suppress(NotFound):
            await self._client.delete(SECRET, key)
        if self._seen is not None:
            self._seen.has_deleted(self._namespace, name, version)

    async def purge(self, release: Release) -> None:
        """Delete every revision, readable or not, the newest last, so that it can be repeated.

        Args:
            release: the newest revision as it is then, for the observer.

        """
        for revision in await self._look_up(release.name):
            await self._delete(release.name, revision.version)
        self._tell(release)

    async def _newest(self, name: str, revisions: list[Revision]) -> Release:
        if not revisions:
            raise ReleaseNotFound(f"release {name} is not in namespace {self._namespace}")
        return await self.get(name, revisions[-1].version)

    async def _all(self, revisions: Iterable[Revision]) -> list[Release]:
        found = []
        for revision in revisions:
            try:
                found.append(await self.get(revision.name, revision.version))
            except (CorruptRecord, ReleaseNotFound):
                continue
        return found

    async def _make_room(self, name: str, keep: int) -> None:
        """Delete the oldest revisions, but not the newest one that is deployed."""
        revisions = await self.revisions(name)
        deployed = [r.version for r in revisions if r.status is Status.DEPLOYED]
        kept = deployed[-1] if deployed else 0
        surplus = len(revisions) - keep
        for revision in [r for r in revisions if r.version != kept][: max(surplus, 0)]:
            await self._delete(name, revision.version)

    async def _holds(self, release: Release, secret: JsonObject) -> bool:
        """Whether a create without an answer has taken effect."""
        key = ObjectKey(self._namespace, secret_name(release.name, release.version))
        try:
            live = await self._client.get(SECRET, key)
        except ApiError:
            return False
        return bool(live.get("data") == secret["data"])

    def _secret(self, release: Release, text: bytes, *, stamp: str) -> JsonObject:
        now = str(int(self._clock.now().timestamp()))
        labels = {
            **release.labels,
            stamp: now,
            "name": release.name,
            "owner": "helm",
            "status": release.info.status,
            "version": str(release.version),
        }
        name = secret_name(release.name, release.version)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self._namespace, "labels": labels},
            "type": RELEASE_TYPE,
            "data": {"release": base64.b64encode(text).decode()},
        }

    def _note(self, release: Release, secret: JsonObject) -> None:
        revision = _revision(secret, release.name)
        if self._seen is not None and revision is not None:
            self._seen.has_written(self._namespace, release, revision)

    def _forget(self, name: str) -> None:
        if self._seen is not None:
            self._seen.forget(self._namespace, name)

    def _tell(self, release: Release) -> None:
        if self._observe is not None:
            self._observe(release)


def _revision(item: JsonObject, name: str) -> Revision | None:
    found = _SECRET_NAME.fullmatch(str(item["metadata"].get("name") or ""))
    if found is None or found[1] != name:
        return None
    status = Status.of(str(labels_of(item).get("status") or ""))
    stamp = f"{item['metadata'].get('uid', '')}@{item['metadata'].get('resourceVersion', '')}"
    return Revision(name, int(found[2]), status, stamp)


async def _release(secret: JsonObject, name: str, version: int) -> Release:
    where = secret_name(name, version)
    if secret.get("type") != RELEASE_TYPE:
        raise CorruptRecord(f"the Secret is not of type {RELEASE_TYPE}", secret=where)
    try:
        text = base64.b64decode((secret.get("data") or {}).get("release") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        text = b""
    if not text:
        raise CorruptRecord("it has no key named release", secret=where, version=version)
    release = await _unpacked(text, where, version)
    if (release.name, release.version) != (name, version):
        raise CorruptRecord("it is the record of another release", secret=where, version=version)
    labels = {key: text for key, text in labels_of(secret).items() if key not in _SYSTEM_LABELS}
    return msgspec.structs.replace(release, labels=labels)


async def _unpacked(text: bytes, secret: str, version: int) -> Release:
    if len(text) <= _AT_ONCE:
        return decode_release(text, secret=secret, version=version)
    return await asyncio.to_thread(decode_release, text, secret=secret, version=version)


async def _packed(release: Release) -> bytes:
    size = len(release.chart) + len(release.manifest)
    if size <= _AT_ONCE:
        text = _encode(release)
    else:
        text = await asyncio.to_thread(_encode, release)
    if len(text) > LARGEST_SECRET:
        raise RecordTooLarge(
            f"release {release} has {len(text):,} bytes packed, but a Secret takes"
            f" {LARGEST_SECRET:,}: make the chart smaller"
        )
    return text


def _encode(release: Release) -> bytes:
    try:
        return encode_release(release, limit=LARGEST_SECRET)
    except ValueError as error:
        raise StorageError(f"release {release} cannot be stored: {error}") from None
