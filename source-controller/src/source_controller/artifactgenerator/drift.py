"""Whether anything differs from what was generated last: the reason, as a word for the log."""

from __future__ import annotations

from collections.abc import Mapping

from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import ExternalArtifactReference
from fluvial.artifact.errors import ArtifactError
from fluvial.artifact.storage import Storage
from fluvial.build.pace import Pace
from fluvial.kube.kinds import EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime import conditions
from source_controller.artifactgenerator.desired import desired_for
from source_controller.artifactgenerator.outputs import Outputs
from source_controller.artifactgenerator.run import GeneratorRun

__all__ = ["DriftCheck", "stored_artifact"]


def stored_artifact(storage: Storage, reference: ExternalArtifactReference) -> Artifact | None:
    """The file that an inventory names, as an artifact to verify; ``None`` for a forged name."""
    try:
        path = storage.relative_path(
            EXTERNAL_ARTIFACT.kind,
            ObjectKey(reference.namespace, reference.name),
            reference.filename,
        )
    except ArtifactError:
        return None
    return Artifact(
        digest=reference.digest,
        last_update_time="",
        path=path,
        revision="",
        url=storage.url_for(path),
    )


class DriftCheck:
    """Compares the last inventory with the sources, the storage and the cluster.

    Args:
        storage: has the artifacts.
        outputs: knows the ExternalArtifacts.

    """

    def __init__(self, storage: Storage, outputs: Outputs) -> None:
        self._storage = storage
        self._outputs = outputs

    async def reason(
        self, run: GeneratorRun, sources_digest: str, existing: Mapping[str, JsonObject]
    ) -> str:
        """Why artifacts have to be made again; ``""`` if everything is in place.

        Args:
            run: of the generator.
            sources_digest: of its sources now.
            existing: its ExternalArtifacts now, by name.

        """
        spec_drift = self._spec_drift(run, sources_digest)
        if spec_drift:
            return spec_drift
        inventory = run.inventory
        if inventory.keys() != existing.keys():  # first: what is forged is another one's file
            return "ExternalArtifactsChanged"
        for reference in inventory.values():
            if not await self.is_stored(reference):
                return "ArtifactMissing"
        pace = Pace()
        for name, reference in inventory.items():
            await pace.breathe()
            if not self._is_in_place(run, reference, existing[name]):
                return "ExternalArtifactsChanged"
        return ""

    @staticmethod
    def _spec_drift(run: GeneratorRun, sources_digest: str) -> str:
        ready = conditions.get_condition(run.obj.status.conditions, conditions.READY)
        if ready is None or ready.status != "True":
            return "NotReady"
        if ready.observed_generation != run.obj.metadata.generation:
            return "GenerationChanged"
        if run.obj.status.observed_sources_digest != sources_digest:
            return "SourcesChanged"
        if len(run.inventory) != len(run.obj.spec.artifacts) and not run.obj.spec.path_pattern:
            return "ArtifactsChanged"
        return ""

    async def is_stored(self, reference: ExternalArtifactReference) -> bool:
        """Whether an inventory's file is there and whole; one that is not is deleted."""
        artifact = stored_artifact(self._storage, reference)
        if artifact is None:
            return False
        try:
            await self._storage.verify(artifact)
        except OSError:
            return False  # the disk does not say: nobody knows that it is wrong
        except ArtifactError:
            await self._storage.remove(artifact)
            return False
        return True

    def _is_in_place(
        self, run: GeneratorRun, reference: ExternalArtifactReference, live: JsonObject
    ) -> bool:
        key = ObjectKey(reference.namespace, reference.name)
        desired = self._outputs.remembered(key)
        if desired is None:
            # After a start: captures are known again once the sources have been looked through.
            desired = desired_for(run.obj, reference.name, captured={}, artifact=None)
        stored = stored_artifact(self._storage, reference)
        artifact = (live.get("status") or {}).get("artifact") or {}
        return (
            desired.is_spec_of(live)
            and desired.is_status_of(live)
            and stored is not None
            and (artifact.get("digest"), artifact.get("url")) == (stored.digest, stored.url)
        )
