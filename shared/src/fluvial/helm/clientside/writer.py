"""Objects of a release written by the client: created, patched or replaced, as the tenant.

What the release has written before is merged with what is wanted and what is live; what it has not
written but is there is taken over, and loses nothing; all else is created, and must not be there.
Nothing is sent for an object that is as it should be.

As in Helm the server is not asked to refuse unknown fields, but where an object is replaced, and a
patch holds for whatever version is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from fluvial.apply.model import Target
from fluvial.helm.clientside.patches import patch_for
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.objects import JsonObject, ObjectRef

__all__ = ["ClientSide", "Originals"]

Originals = Mapping[ObjectRef, JsonObject | None]
"""The objects that exist as they were written last; ``None`` for those that others have written."""


class ClientSide:
    """Writes objects of one release.

    Args:
        target: where and as whom.
        originals: what of the release may be there already.
        force: replace objects instead of patching them.
        strict: where they are replaced, have the server refuse fields that it does not know.
        dry_run: change nothing.

    """

    def __init__(
        self,
        target: Target,
        *,
        originals: Originals,
        force: bool = False,
        strict: bool = True,
        dry_run: bool = False,
    ) -> None:
        self._target = target
        self._originals = originals
        self._force = force
        self._strict = strict
        self._dry_run = dry_run

    async def apply(self, objects: ReleaseObjects, located: Sequence[Located]) -> None:
        """Write objects, kind after kind.

        Raises:
            ObjectsFailed: some were refused; those of later kinds were not tried.

        """

        async def write(one: Located) -> None:
            live = await objects.live(one) if one.ref in self._originals else None
            await self.write(one, live)
            objects.note(f"applied {one.ref}")

        await objects.write_each(located, write)

    async def write(self, one: Located, live: JsonObject | None) -> JsonObject:
        """Write one object.

        Args:
            one: as it is wanted.
            live: as it is; ``None`` where it is not there.

        Returns:
            What has become of it.

        Raises:
            MergeError: its versions cannot be merged.
            ApiError: the server has refused it.

        """
        manager = self._target.field_manager
        if live is None:
            return await self._target.client.create(
                one.resource, one.obj, field_manager=manager, dry_run=self._dry_run
            )
        if self._force:
            return await self._replace(one, live)
        original = self._originals.get(one.ref)
        # Definitions are large, and comparing them takes longer than the loop may be held.
        patch = await asyncio.to_thread(patch_for, one.obj, live, original=original)
        if not patch.body:
            return live
        return await self._target.client.patch(
            one.resource,
            one.key,
            patch.body,
            patch_type=patch.type,
            field_manager=manager,
            dry_run=self._dry_run,
        )

    async def _replace(self, one: Located, live: JsonObject) -> JsonObject:
        version = live["metadata"]["resourceVersion"]
        metadata = {**one.obj["metadata"], "resourceVersion": version}
        return await self._target.client.replace(
            one.resource,
            {**one.obj, "metadata": metadata},
            field_manager=self._target.field_manager,
            field_validation="Strict" if self._strict else "Ignore",
            dry_run=self._dry_run,
        )
