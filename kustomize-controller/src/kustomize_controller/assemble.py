"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fluvial.api.kustomize import Kustomization
from fluvial.apply import ApplyOptions
from fluvial.delivery.controller import DeliveryController
from fluvial.delivery.kind import DeliveryKind, DeliveryParts, DeliverySettings
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from fluvial.runtime.conditions import RECONCILING, STALLED
from fluvial.runtime.outcome import Result
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.applying import ApplyStep
from kustomize_controller.kustomization.drift import DriftStep
from kustomize_controller.kustomization.finish import Finish
from kustomize_controller.kustomization.health import HealthStep
from kustomize_controller.kustomization.memory import Memory
from kustomize_controller.kustomization.reconciler import KustomizationReconciler
from kustomize_controller.kustomization.references import INDEXES, has_tried, kind_of_source
from kustomize_controller.kustomization.removal import RemovalStep
from kustomize_controller.kustomization.rendering import Renderer
from kustomize_controller.kustomization.run import FIELD_MANAGER, StatusWriter

__all__ = ["KustomizeController", "Parts", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings(DeliverySettings):
    """What flags decide of Kustomizations alone.

    Attributes:
        concurrency_apply: requests in flight for one of them (``--concurrent-ssa``).
        fail_fast: end a health check at the first failed object.
        tells_replaced_waits: say that a health check was replaced by a new attempt.
        apply: options of every apply.

    """

    concurrency_apply: int = 4
    fail_fast: bool = True
    tells_replaced_waits: bool = False
    apply: ApplyOptions = field(default_factory=ApplyOptions)
    user_agent: str = "kustomize-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts(DeliveryParts):
    """What the controller is given."""

    renderer: Renderer


KIND = DeliveryKind(
    resource=kinds.KUSTOMIZATION,
    model=Kustomization,
    memory=Memory,
    indexes=INDEXES,
    kind_of_source=kind_of_source,
    has_tried=has_tried,
    field_manager=FIELD_MANAGER,
    conditions=frozenset({reasons.READY, reasons.HEALTHY, RECONCILING, STALLED}),
    source_not_ready=reasons.ARTIFACT_FAILED,
)


class KustomizeController(DeliveryController[Kustomization, Memory]):
    """Everything that runs: a runnable for the manager."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        super().__init__(KIND, parts, settings)
        self._local = self._make_waiter(self.queue.add_first, parts.informers)
        self._remote = self._make_waiter(self.queue.add_first, None)
        self._reconciler = self._make_reconciler(parts, settings)

    async def _reconcile(self, key: ObjectKey) -> Result:
        return await self._reconciler.reconcile(key)

    def _make_reconciler(self, parts: Parts, settings: Settings) -> KustomizationReconciler:
        writer = StatusWriter(self._patcher)
        applying = ApplyStep(
            writer,
            parts.events,
            parts.clock,
            settings.apply,
            concurrency=settings.concurrency_apply,
        )
        return KustomizationReconciler(
            client=parts.client,
            opening=self._opening,
            memories=self._memories,
            writer=writer,
            expressions=self._expressions,
            sources=self._sources,
            confirmation=self._confirmation,
            dependencies=self._dependencies,
            tenants=self._tenants,
            renderer=parts.renderer,
            applying=applying,
            drift=DriftStep(self._owned),
            health=HealthStep(
                writer,
                parts.events,
                parts.clock,
                local=self._local,
                remote=self._remote,
                fail_fast=settings.fail_fast,
                tells_replaced=settings.tells_replaced_waits,
            ),
            removal=RemovalStep(
                parts.client,
                self._tenants,
                applying,
                writer,
                self._patcher,
                parts.events,
                parts.log,
            ),
            finish=Finish(writer, parts.events, parts.log, settings.jitter),
            clock=parts.clock,
            log=parts.log,
        )
