"""Where a run's objects go, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from fluvial.apply import Target
from fluvial.clock import Clock
from fluvial.kube.capabilities import CapabilitiesReader
from fluvial.kube.discovery import RestMapper
from fluvial.kube.tenants import Tenant, Tenants
from helm_controller.helmrelease.drift import noting
from helm_controller.helmrelease.run import FIELD_MANAGER, Run

__all__ = ["Targets"]


@dataclass(frozen=True, slots=True)
class Targets:
    """Finds out who acts for an object, and where.

    Attributes:
        concurrency: requests in flight for one release.

    """

    tenants: Tenants
    clock: Clock
    concurrency: int = 4
    _capabilities: WeakKeyDictionary[RestMapper, CapabilitiesReader] = field(
        default_factory=WeakKeyDictionary
    )

    async def aim(self, run: Run) -> None:
        """Set ``run.tenant`` and ``run.target``; raises TenantRefused."""
        run.tenant = await self.tenants.tenant_of(run.actor)
        client = run.tenant.client
        if run.spec_of.spec.detects_drift:
            client = noting(client, owner=run.owner, known=run.memory.known)
        run.target = Target(
            client=client,
            mapper=run.tenant.mapper,
            owner=run.owner,
            field_manager=FIELD_MANAGER,
            masker=run.masker,
            clock=run.turn,
            concurrency=self.concurrency,
            health=run.health,
        )

    def capabilities(self, tenant: Tenant) -> CapabilitiesReader:
        """What the cluster of a tenant can do; one reader for each cluster, like its discovery."""
        found = self._capabilities.get(tenant.mapper)
        if found is None:
            found = CapabilitiesReader(tenant.watcher, self.clock)
            self._capabilities[tenant.mapper] = found
        return found
