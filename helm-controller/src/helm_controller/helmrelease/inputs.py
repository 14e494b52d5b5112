"""What goes into a release: values and the chart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fluvial.apply import Masker
from fluvial.artifact.errors import ArtifactError, ArtifactNotFound
from fluvial.artifact.fetcher import Fetcher
from fluvial.build.errors import BuildError
from fluvial.build.helm.model import ChartDescription
from fluvial.build.helm.renderer import MAX_CHART, HelmRenderer
from fluvial.helm.digests import CANONICAL, config_digest_of, track_chart
from fluvial.helm.errors import ChartVersionError, ValuesError
from fluvial.helm.values import compose, inline_values, resolve
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError
from fluvial.kube.urls import UnsafeName
from fluvial.runtime.outcome import Failed, Waiting
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.run import Chart, Run

__all__ = ["Inputs"]

_DESCRIBE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Reads values and charts.

    Attributes:
        client: the controller's own identity, which reads values.
        fetcher: gets artifacts.
        renderer: looks into charts, in a worker.
        requeue_dependency: seconds until the next look for an artifact that is not there yet.
        tracks_digests: the version of a chart from an OCI artifact gets its digest
            (gate DisableChartDigestTracking is the opposite).
        algorithm: of the digests in the status.
        spread: moves a time in seconds a little.

    """

    client: KubeClient
    fetcher: Fetcher
    renderer: HelmRenderer
    requeue_dependency: float = 30.0
    tracks_digests: bool = True
    algorithm: str = CANONICAL
    spread: Callable[[float], float] = lambda seconds: seconds

    async def read_values(self, run: Run) -> None:
        """Compose the values; also what is masked from here on.

        Raises:
            Failed: ValuesError; a reference is missing, cannot be read, or is no map of values.

        """
        spec = run.spec_of.spec
        try:
            found = await resolve(self.client, run.key.namespace, spec.values_from)
            run.values = await compose(inline_values(spec.values), found)
        except ValuesError as error:
            raise Failed(reasons.VALUES_ERROR, f"could not resolve values: {error}") from error
        except (ApiError, UnsafeName) as error:
            raise Failed(
                reasons.VALUES_ERROR, f"values references cannot be read: {error}"
            ) from error
        run.masker = await Masker.prepared(run.values.secrets)
        run.config_digest = await config_digest_of(run.values.values, self.algorithm)

    async def have_changed(self, run: Run) -> bool:
        """Whether the values are others now than those that a run has read, as far as is known."""
        spec = run.spec_of.spec
        try:
            found = await resolve(self.client, run.key.namespace, spec.values_from)
            values = await compose(inline_values(spec.values), found)
        except (ValuesError, ApiError, UnsafeName):
            return False
        return await config_digest_of(values.values, self.algorithm) != run.config_digest

    async def read_chart(self, run: Run) -> None:
        """Find out the chart's name and version.

        Raises:
            Waiting: ArtifactFailed, the artifact is announced and not (any more) there.
            Failed: ArtifactFailed or ChartMutateError.

        """
        assert run.source is not None  # noqa: S101  # found by the step before
        artifact = run.source.artifact
        described = await self._described(run)
        version, digest = described.version, ""
        if _has_digest(run.source.kind, artifact.revision):
            try:
                tracked, digest = track_chart(described.version, artifact.revision)
            except ChartVersionError as error:
                raise Failed(reasons.CHART_MUTATE_ERROR, str(error)) from error
            version = tracked if self.tracks_digests else version
        run.chart = Chart(described, version, digest)

    async def archive(self, run: Run) -> bytes:
        """The chart's archive; kept by the run until it has been rendered.

        Raises:
            Waiting, Failed: as ``read_chart``.

        """
        assert run.source is not None  # noqa: S101  # found by a step before
        if run.archive is None:
            try:
                run.archive = await self.fetcher.read(run.source.artifact, max_bytes=MAX_CHART)
            except ArtifactNotFound as error:
                raise Waiting(
                    reasons.ARTIFACT_FAILED,
                    f"Source is not ready, artifact not found: {error}",
                    after=self.spread(self.requeue_dependency),
                ) from error
            except ArtifactError as error:
                raise Failed(reasons.ARTIFACT_FAILED, f"could not load chart: {error}") from error
        return run.archive

    async def _described(self, run: Run) -> ChartDescription:
        assert run.source is not None  # noqa: S101  # found by a step before
        artifact, memory = run.source.artifact, run.memory
        identity = (artifact.url, artifact.digest)
        if memory.described is None or memory.artifact != identity:
            try:
                memory.described = await self.renderer.describe(
                    await self.archive(run),
                    timeout=_DESCRIBE_SECONDS,
                    trust_domain=run.trust_domain,
                )
            except BuildError as error:
                raise Failed(reasons.ARTIFACT_FAILED, f"could not load chart: {error}") from error
            memory.artifact = identity
        return memory.described


def _has_digest(kind: str, revision: str) -> bool:
    return kind == "OCIRepository" or (kind == "ExternalArtifact" and ":" in revision)
