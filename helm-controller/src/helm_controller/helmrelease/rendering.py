"""From a chart and values to the revision that an install or upgrade begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from fluvial.api.helm_actions import CRDsPolicy, Install, Upgrade
from fluvial.build.helm.lookup import cluster_lookup
from fluvial.build.helm.model import CustomResource, LastValues, PostRendering, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer
from fluvial.helm.crds import apply_crds
from fluvial.helm.making import new_release
from fluvial.helm.release import Release
from fluvial.helm.values import coalesce_tables, once_secret
from fluvial.helm.waiting import Waits
from fluvial.kube.capabilities import CapabilitiesReader
from fluvial.kube.tenants import Tenant
from fluvial.log import Logger
from fluvial.objects import JsonObject
from helm_controller.helmrelease.inputs import Inputs
from helm_controller.helmrelease.run import Run

__all__ = ["Made", "Rendering", "effective_values"]


@dataclass(frozen=True, slots=True)
class Made:
    """A revision that has not been stored yet, and the definitions that its chart brings."""

    release: Release
    crds: tuple[CustomResource, ...]


@dataclass(frozen=True, slots=True)
class Rendering:
    """Renders charts for releases.

    Attributes:
        capabilities: of the cluster that a tenant works in.
        timeout: seconds that one render may take.

    """

    inputs: Inputs
    renderer: HelmRenderer
    capabilities: Callable[[Tenant], CapabilitiesReader]
    log: Logger
    timeout: float = 120.0

    async def definitions(self, run: Run, waits: Waits, *, before: Release | None) -> None:
        """Bring the chart's definitions to the cluster, as the policy has it.

        Raises:
            Waiting, Failed: the chart could not be fetched.
            BuildError, HelmError, NoMatch, ApiError: they could not be written.

        """
        assert run.chart is not None and run.values is not None  # noqa: S101, PT018  # known by a step before
        assert run.target is not None and run.tenant is not None  # noqa: S101, PT018  # known by a step before
        policy = _crds_policy(run, before)
        if policy == "Skip" or not run.chart.described.has_crds:
            return
        files = await self.renderer.definitions(
            await self.inputs.archive(run),
            effective_values(run, before),
            timeout=self.timeout,
            trust_domain=run.trust_domain,
            secrets=_secrets(run, before),
        )
        if not files:
            return
        odd = await apply_crds(run.target, files, policy=policy, waits=waits)
        if odd:
            self.log.warning("files in crds/ have objects that are no definitions", files=odd)
        self.capabilities(run.tenant).invalidate()

    async def make(
        self, run: Run, *, version: int, before: Release | None, server_side: bool
    ) -> Made:
        """Render the chart.

        Args:
            run: with chart, values and tenant.
            version: number of the revision.
            before: the revision that is upgraded; ``None`` for an install.
            server_side: whether the server applies its objects.

        Raises:
            Waiting, Failed: the chart could not be fetched.
            BuildError, ManifestError, ApiError: it does not become a manifest.

        """
        assert run.chart is not None and run.values is not None  # noqa: S101, PT018  # known by a step before
        assert run.tenant is not None  # noqa: S101  # known by a step before
        release = run.spec_of
        values = effective_values(run, before)
        spec = RenderSpec(
            name=release.release_name,
            namespace=release.release_namespace,
            capabilities=await self.capabilities(run.tenant).current(),
            revision=version,
            is_upgrade=before is not None,
            validate_values=_validates(run, before),
            chart_version=run.chart.version,
            last=_last_values(run, before),
            post=PostRendering.of(release.spec, owner=run.key),
        )
        rendered = await self.renderer.render(
            await self.inputs.archive(run),
            values,
            spec,
            timeout=self.timeout,
            trust_domain=run.trust_domain,
            lookup=cluster_lookup(run.tenant.client),
            secrets=_secrets(run, before),
        )
        for warning in rendered.warnings:
            self.log.info("chart warns", detail=run.masker.text(warning))
        made = await new_release(
            rendered,
            name=release.release_name,
            namespace=release.release_namespace,
            version=version,
            now=run.turn.now(),
            before=before,
            server_side=server_side,
        )
        return Made(made, rendered.crds)


def effective_values(run: Run, before: Release | None) -> dict[str, Any]:
    """The values of a release after ``before``: laid over its own, where these are preserved."""
    assert run.values is not None  # noqa: S101  # read by a step before
    if before is None or not _preserves(run):
        return run.values.values
    return coalesce_tables(run.values.values, before.config)


def _preserves(run: Run) -> bool:
    return (run.spec_of.spec.upgrade or Upgrade()).preserve_values


def _secrets(run: Run, before: Release | None) -> frozenset[str]:
    """What must not be told, from here on by the run either: preserved values have secrets, too."""
    assert run.values is not None  # noqa: S101  # read by a step before
    if before is None or not _preserves(run):
        return run.values.secrets
    older = once_secret(run.values, before.config)
    run.masker = run.masker.extend(older)
    return run.values.secrets | older


def _last_values(run: Run, before: Release | None) -> LastValues | None:
    if before is None or not _preserves(run):
        return None
    chart: JsonObject = orjson.loads(bytes(before.chart))
    return LastValues(chart.get("values") or {}, before.config)


def _crds_policy(run: Run, before: Release | None) -> CRDsPolicy | None:
    spec = run.spec_of.spec
    own = (spec.install or Install()) if before is None else (spec.upgrade or Upgrade())
    return own.crds


def _validates(run: Run, before: Release | None) -> bool:
    spec = run.spec_of.spec
    own = (spec.install or Install()) if before is None else (spec.upgrade or Upgrade())
    return not own.disable_schema_validation
