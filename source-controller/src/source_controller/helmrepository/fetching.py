"""The source step: from the spec to an index that can be stored."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.source import HelmRepository
from fluvial.kube.client import KubeClient
from fluvial.net.tls import InvalidTls
from source_controller.helm.index import InvalidIndex
from source_controller.helmrepository.access import index_url, read_access
from source_controller.helmrepository.reasons import FAILED, INDEXATION_FAILED
from source_controller.helmrepository.sharing import Indexes, IndexRequest
from source_controller.source import reasons
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.secrets import auth_failed
from source_controller.source.shared import SharedFile
from source_controller.web.access import shown
from source_controller.web.client import WebError

__all__ = ["FetchedIndex", "SourceStep"]


@dataclass(frozen=True, slots=True)
class FetchedIndex:
    """What the repository serves.

    Attributes:
        revision: digest of the bytes that were served.
        url: the repository's, to show.
        index: as it is to be stored; ``None`` if it is stored already.

    """

    revision: str
    url: str
    index: SharedFile | None

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.revision.partition(":")[2]


class SourceStep:
    """Fetches the index, and reads it unless it is the one that is stored.

    Args:
        client: reads the Secrets.
        indexes: shared by all objects.
        writer: for progress.

    """

    def __init__(self, client: KubeClient, indexes: Indexes, writer: StatusWriter) -> None:
        self._client = client
        self._indexes = indexes
        self._writer = writer

    async def run(self, run: Run[HelmRepository]) -> FetchedIndex:
        """Download, and read with ``run.folder``.

        Raises:
            StepFailed: ``URLInvalid``, ``AuthenticationFailed``, ``Failed`` or
                ``IndexationFailed``.

        """
        spec = run.obj.spec
        url, address = index_url(spec.url)
        access = await read_access(self._client, run.key.namespace, spec, address)
        request = IndexRequest(
            url, access.for_file(url), run.key.namespace, timeout=spec.timeout_seconds
        )
        max_age = 0.0 if run.asked else run.answer_age
        try:
            served = await self._indexes.download(request, max_age=max_age)
        except InvalidTls as error:
            raise auth_failed(f"failed to configure TLS: {error}") from error
        except WebError as error:
            raise StepFailed(
                reasons.FETCH_FAILED, FAILED, f"failed to fetch Helm repository index: {error}"
            ) from error
        except OSError as error:
            raise _disk_failed(error) from error
        revision = str(served.packed.digest)
        if run.artifact is not None and run.artifact.revision == revision:
            run.clear(reasons.FETCH_FAILED)
            return FetchedIndex(revision, shown(access.home), None)
        index = await self._read(run, request, served)
        run.clear(reasons.FETCH_FAILED)
        await self._announce(run, revision)
        return FetchedIndex(revision, shown(access.home), index)

    async def _read(
        self, run: Run[HelmRepository], request: IndexRequest, served: SharedFile
    ) -> SharedFile:
        try:
            return await self._indexes.read(request, served, run.folder)
        except InvalidIndex as error:
            raise StepFailed(
                reasons.FETCH_FAILED,
                INDEXATION_FAILED,
                f"failed to load Helm repository from index YAML: {error}",
            ) from error
        except OSError as error:
            raise _disk_failed(error) from error

    async def _announce(self, run: Run[HelmRepository], revision: str) -> None:
        message = f"new index revision '{revision}'"
        if run.artifact is not None:
            run.set_true(reasons.ARTIFACT_OUTDATED, reasons.NEW_REVISION, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.progress(run)


def _disk_failed(error: OSError) -> StepFailed:
    return StepFailed(
        reasons.STORAGE_OPERATION_FAILED,
        reasons.ARCHIVE_OPERATION_FAILED,
        f"unable to save the index: {error.strerror}",
    )
