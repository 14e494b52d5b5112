"""What happens to a release when its HelmRelease is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.meta import KubeConfigReference
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.tenants import Tenants
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime.outcome import Failed
from fluvial.runtime.patcher import StatusPatcher
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.actions import Actions
from helm_controller.helmrelease.charts import ChartObjects
from helm_controller.helmrelease.inputs import Inputs
from helm_controller.helmrelease.run import Run
from helm_controller.helmrelease.targets import Targets

__all__ = ["RemovalStep"]


@dataclass(frozen=True, slots=True)
class RemovalStep:
    """Uninstalls, deletes the HelmChart, and lets go of the object by taking the finalizer off."""

    client: KubeClient
    tenants: Tenants
    targets: Targets
    inputs: Inputs
    stage: Stage
    actions: Actions
    charts: ChartObjects
    patcher: StatusPatcher
    log: Logger

    async def remove(self, run: Run) -> None:
        """Do it as the tenant.

        Raises:
            Failed: UninstallFailed or HelmChartSyncErr; the finalizer stays and it is tried again.

        """
        if not run.spec_of.spec.suspend:
            if run.status.storage_namespace:
                await self._uninstall(run)
            await self.charts.remove(run)
        await self.patcher.remove_finalizer(run.obj)

    async def _uninstall(self, run: Run) -> None:
        if await self._nobody_can(run):
            return
        await self._learn_secrets(run)
        await self.targets.aim(run)
        name = await self.stage.released_name(run)
        if name:
            await self.actions.take_away(run, run.spec_of, name=name)

    async def _learn_secrets(self, run: Run) -> None:
        """Read the values, so that nothing of Secrets is told; they may be gone already."""
        try:
            await self.inputs.read_values(run)
        except Failed as error:
            self.log.info(
                "the values of a release that is removed are not there", detail=str(error)
            )

    async def _nobody_can(self, run: Run) -> bool:
        """Whether who would uninstall is gone, so that everything is left behind (Flux)."""
        problem = ""
        if await self.tenants.account_is_gone(run.actor):
            problem = "the service account to be impersonated does not exist"
        config = run.spec_of.spec.kube_config
        if config is not None:
            problem = await self._missing(run.key.namespace, config) or problem
        if not problem:
            return False
        self.log.error("the release is left behind", reason=problem)
        self.stage.tell(
            run, "Warning", reasons.UNINSTALL_FAILED, f"unable to uninstall the release: {problem}"
        )
        return True

    async def _missing(self, namespace: str, config: KubeConfigReference) -> str:
        """What would lead to the cluster and is not there, or ``""``."""
        for resource, reference in (
            (kinds.SECRET, config.secret_ref),
            (kinds.CONFIG_MAP, config.config_map_ref),
        ):
            if reference is None:
                continue
            key = ObjectKey(namespace, reference.name)
            try:
                await self.client.get(resource, key, metadata_only=True)
            except NotFound:
                return f"the kubeconfig {resource.kind} '{key}' does not exist"
        return ""
