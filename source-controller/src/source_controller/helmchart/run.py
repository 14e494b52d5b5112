"""What the steps of a HelmChart hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fluvial.api.source_helmchart import HelmChart
from fluvial.runtime import conditions
from source_controller.helmchart import reasons
from source_controller.helmchart.downloads import ChartFile
from source_controller.source import reasons as common
from source_controller.source.run import Run, StatusWriter

__all__ = ["Build", "ChartRun"]


@dataclass(frozen=True, slots=True)
class Build:
    """A chart that is to become the artifact, or is it already.

    Attributes:
        name: of the chart.
        version: of the chart, with build metadata.
        packaged: it was not taken as it is.
        values_files: those whose values it has.
        dependencies: charts that were added to it.
        file: the package, if it was made for this object.
        shared: the package, if several objects have it.
        origin: address and digest of what was verified and that it is made of.

    """

    name: str
    version: str
    packaged: bool
    values_files: tuple[str, ...] = ()
    dependencies: int = 0
    file: Path | None = None
    shared: ChartFile | None = None
    origin: tuple[str, str] | None = None

    @property
    def is_new(self) -> bool:
        """Whether there is something to store."""
        return self.file is not None or self.shared is not None

    @property
    def reason(self) -> str:
        """Of success."""
        if self.packaged:
            return reasons.CHART_PACKAGE_SUCCEEDED
        return reasons.CHART_PULL_SUCCEEDED

    @property
    def filename(self) -> str:
        """In the object's folder of the storage."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def summary(self) -> str:
        """What was done, for people."""
        return self._said("packaged" if self.packaged else "pulled")

    @property
    def news(self) -> str:
        """What will be done."""
        return f"new '{self.name}' chart with version '{self.version}'"

    def _said(self, action: str) -> str:
        text = f"{action} '{self.name}' chart with version '{self.version}'"
        if self.values_files:
            text += f" and merged values files [{' '.join(self.values_files)}]"
        return text


@dataclass(slots=True)
class ChartRun(Run[HelmChart]):
    """One reconcile of one HelmChart."""

    def is_current(self, name: str, version: str) -> bool:
        """Whether the artifact is that version of that chart, made with this spec.

        The generation is that of the last success: one that failed in between made nothing.
        """
        stored = conditions.get_condition(self.conditions, common.ARTIFACT_IN_STORAGE)
        return (
            self.artifact is not None
            and self.artifact.revision == version
            and self.obj.status.observed_chart_name == name
            and stored is not None
            and stored.observed_generation == self.generation
        )

    def unchanged(self, build: Build) -> Build:
        """The same, saying which values files the artifact was made with."""
        observed = tuple(self.obj.status.observed_values_files)
        return Build(
            name=build.name,
            version=build.version,
            packaged=build.packaged,
            values_files=observed or self.obj.spec.merged_files,
        )

    async def announce(self, build: Build, writer: StatusWriter) -> None:
        """Say that another chart is being fetched, unless it is only the spec that differs."""
        artifact = self.artifact
        same = artifact is not None and artifact.revision == build.version
        if same and self.obj.status.observed_chart_name == build.name:
            return
        if artifact is not None:
            self.set_true(common.ARTIFACT_OUTDATED, reasons.NEW_CHART, build.news)
        self.progress(f"building artifact: {build.news}", drift=True)
        await writer.progress(self)
