"""The source step: from the spec to an index that can be stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fluvial.api.source import HelmRepository
from fluvial.kube.client import KubeClient
from source_controller.helm.client import HelmJobs
from source_controller.helm.index import InvalidIndex
from source_controller.helmrepository.access import index_url, read_access
from source_controller.helmrepository.reasons import FAILED, INDEXATION_FAILED
from source_controller.source import reasons
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.secrets import auth_failed
from source_controller.web.access import shown
from source_controller.web.client import WebClient, WebError
from source_controller.web.tls import InvalidTls

__all__ = ["FetchedIndex", "SourceStep"]

_DOWNLOADED = "index"
_REWRITTEN = "index.json"


@dataclass(frozen=True, slots=True)
class FetchedIndex:
    """What the repository serves.

    Attributes:
        revision: digest of the bytes that were served.
        url: the repository's, to show.
        file: the index as it is to be stored; ``None`` if it is stored already.

    """

    revision: str
    url: str
    file: Path | None

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.revision.partition(":")[2]


class SourceStep:
    """Fetches the index, and reads it unless it is the one that is stored.

    Args:
        client: reads the Secrets.
        web: downloads.
        jobs: read indexes.
        writer: for progress.
        max_bytes: of an index.
        algorithm: of revisions.

    """

    def __init__(
        self,
        client: KubeClient,
        web: WebClient,
        jobs: HelmJobs,
        writer: StatusWriter,
        *,
        max_bytes: int,
        algorithm: str,
    ) -> None:
        self._client = client
        self._web = web
        self._jobs = jobs
        self._writer = writer
        self._max_bytes = max_bytes
        self._algorithm = algorithm

    async def run(self, run: Run[HelmRepository]) -> FetchedIndex:
        """Download into ``run.folder``.

        Raises:
            StepFailed: ``URLInvalid``, ``AuthenticationFailed``, ``Failed`` or
                ``IndexationFailed``.

        """
        spec = run.obj.spec
        url, address = index_url(spec.url)
        access = await read_access(self._client, run.key.namespace, spec, address)
        try:
            found = await self._web.download(
                url,
                run.folder / _DOWNLOADED,
                access=access.for_file(url),
                max_bytes=self._max_bytes,
                timeout=spec.timeout_seconds,
                algorithm=self._algorithm,
            )
        except InvalidTls as error:
            raise auth_failed(f"failed to configure TLS: {error}") from error
        except WebError as error:
            raise StepFailed(
                reasons.FETCH_FAILED, FAILED, f"failed to fetch Helm repository index: {error}"
            ) from error
        revision = str(found.digest)
        if run.artifact is not None and run.artifact.revision == revision:
            run.clear(reasons.FETCH_FAILED)
            return FetchedIndex(revision, shown(access.home), None)
        await self._rewrite(run)
        run.clear(reasons.FETCH_FAILED)
        await self._announce(run, revision)
        return FetchedIndex(revision, shown(access.home), run.folder / _REWRITTEN)

    async def _rewrite(self, run: Run[HelmRepository]) -> None:
        try:
            await self._jobs.rewrite_index(
                run.folder, source=_DOWNLOADED, target=_REWRITTEN, namespace=run.key.namespace
            )
        except InvalidIndex as error:
            raise StepFailed(
                reasons.FETCH_FAILED,
                INDEXATION_FAILED,
                f"failed to load Helm repository from index YAML: {error}",
            ) from error

    async def _announce(self, run: Run[HelmRepository], revision: str) -> None:
        message = f"new index revision '{revision}'"
        if run.artifact is not None:
            run.set_true(reasons.ARTIFACT_OUTDATED, reasons.NEW_REVISION, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.write(run)
