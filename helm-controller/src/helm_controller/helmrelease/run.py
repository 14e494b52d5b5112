"""One run of one HelmRelease: what the steps hand on to each other, and how status is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fluvial.api.helm import GROUP, HelmRelease
from fluvial.api.helm_status import HelmReleaseStatus
from fluvial.apply import Owner, Target
from fluvial.artifact.sources import SourceName
from fluvial.build.helm.model import ChartDescription
from fluvial.delivery.run import DeliveryRun
from fluvial.helm.observing import Wanted
from fluvial.helm.seen import SeenRecords
from fluvial.helm.values import Composed
from fluvial.kube.tenants import Tenant
from fluvial.runtime.patcher import StatusPatcher, with_status
from helm_controller.helmrelease.memory import Memory
from helm_controller.helmrelease.references import source_name
from helm_controller.helmrelease.turns import Turn

__all__ = ["FIELD_MANAGER", "Chart", "Run", "StatusWriter"]

FIELD_MANAGER: Final = "helm-controller"


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart that is to be released.

    Attributes:
        described: what the archive says.
        version: under which it is released, with the artifact's digest where that is tracked.
        digest: of the OCI artifact, or ``""``.

    """

    described: ChartDescription
    version: str
    digest: str = ""

    def __str__(self) -> str:
        """``podinfo@6.5.0``."""
        return f"{self.described.name}@{self.version}"


@dataclass(slots=True)
class Run(DeliveryRun[HelmRelease, Memory]):
    """State of one run; steps read it top-down and add what later steps need.

    Attributes:
        turn: lets this run work; also the clock.
        approved: the plan that this run carries out, ``""`` where none is needed.
        forced: a release by force is asked for and has not been made.
        values: composed, once read.
        chart: once described.
        tenant: who acts, once known.
        target: where objects go, and as whom, once known.
        seen: the records that were read and written in this run.
        record: name, number and version of the newest record, once it was looked at.
        looked: whether it was looked for changes of the objects.
        config_digest: of the values.
        archive: the chart, between being described and being rendered.

    """

    turn: Turn
    approved: str = ""
    forced: bool = False
    values: Composed | None = None
    chart: Chart | None = None
    tenant: Tenant | None = None
    target: Target | None = None
    seen: SeenRecords = field(default_factory=SeenRecords)
    record: str = ""
    looked: bool = False
    config_digest: str = ""
    archive: bytes | None = field(default=None, repr=False)

    def now(self) -> datetime:
        """Wall time."""
        return self.turn.now()

    @property
    def status(self) -> HelmReleaseStatus:
        """The status that the run will write."""
        return self.spec_of.status

    @property
    def source_name(self) -> SourceName:
        """The object that has the artifact."""
        return source_name(self.spec_of)

    @property
    def fresh(self) -> bool:
        """Trust no cache."""
        return self.live or bool(self.requested)

    @property
    def owner(self) -> Owner:
        """Who owns what this run applies."""
        return Owner(GROUP, "HelmRelease", self.key.namespace, self.key.name)

    @property
    def trust_domain(self) -> str:
        """Whose values and templates these are; a worker serves one."""
        config = self.spec_of.spec.kube_config
        remote = ""
        if config and config.secret_ref:
            remote = config.secret_ref.name
        elif config and config.config_map_ref:
            remote = f"ConfigMap/{config.config_map_ref.name}"
        return "/".join((self.key.namespace, self.tenant.user if self.tenant else "", remote))

    @property
    def wanted(self) -> Wanted:
        """What is to be released."""
        assert self.chart is not None  # noqa: S101  # described by a step before
        assert self.values is not None  # noqa: S101  # read by a step before
        return Wanted(
            self.chart.described.name,
            self.chart.version,
            self.values.values,
            self.config_digest,
        )

    @property
    def attempt(self) -> str:
        """Identity of (object, generation, chart, values, newest record)."""
        artifact = self.source.artifact if self.source else None
        parts = (
            self.spec_of.metadata.uid,
            str(self.generation),
            artifact.revision if artifact else "",
            artifact.digest if artifact else "",
            self.chart.version if self.chart else "",
            self.config_digest,
            self.record,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def event_metadata(self) -> dict[str, str]:
        """Metadata of an event about this run."""
        metadata = {}
        if self.chart is not None:
            metadata[f"{GROUP}/revision"] = self.chart.version
            if self.chart.described.app_version:
                metadata[f"{GROUP}/app-version"] = self.chart.described.app_version
            if self.chart.digest:
                metadata[f"{GROUP}/oci-digest"] = self.chart.digest
        if self.status.last_attempted_config_digest:
            metadata[f"{GROUP}/token"] = self.status.last_attempted_config_digest
        return metadata


class StatusWriter:
    """Writes the status of runs."""

    def __init__(self, patcher: StatusPatcher) -> None:
        self._patcher = patcher

    async def save(self, run: Run) -> None:
        """Write what differs between the status that is there and ``run.status``.

        Raises:
            Conflict: the object kept changing.
            NotFound: it is gone.

        """
        after = with_status(run.obj, run.status)
        run.obj = run.memory.latest = await self._patcher.patch(run.obj, after)
