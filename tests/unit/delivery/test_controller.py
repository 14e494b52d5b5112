"""A controller as kinds share it: what flags decide, and whom drift wakes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.api.kustomize import Kustomization
from fluvial.clock import RealClock
from fluvial.delivery.controller import DeliveryController
from fluvial.delivery.kind import DeliveryKind, DeliveryParts, DeliverySettings
from fluvial.kube.informer import InformerFactory
from fluvial.kube.kinds import KUSTOMIZATION
from fluvial.kube.tenants import TenantRules
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.memory import ObjectMemory
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.options import CommonOptions
from fluvial.runtime.outcome import Result
from unit.delivery.cluster import KEY, Cluster, kustomization

GATES = {
    "AdditiveCELDependencyCheck": True,
    "DisableConfigWatchers": False,
    "ExternalArtifact": True,
}


def test_settings_are_what_the_flags_say() -> None:
    options = CommonOptions(
        gates=GATES,
        concurrent=7,
        requeue_dependency=5.0,
        min_retry_delay=1.0,
        max_retry_delay=2.0,
        no_cross_namespace_refs=True,
        watch_label_selector="shard=a",
        watch_configs_label_selector="watched=yes",
        interval_jitter_percentage=0,
        default_service_account="tenant",
        insecure_kubeconfig_tls=True,
    )
    settings = DeliverySettings.of(options, user_agent="me")

    assert (settings.concurrency, settings.requeue_dependency) == (7, 5.0)
    assert settings.retry_delays == (1.0, 2.0)
    assert not settings.cross_namespace
    assert (settings.external_artifacts, settings.additive_expressions) == (True, True)
    assert (settings.label_selector, settings.config_selector) == ("shard=a", "watched=yes")
    assert settings.tenants == TenantRules("tenant", insecure_kubeconfig_tls=True)
    assert settings.jitter(60.0) == 60.0
    assert 0.0 <= settings.spread(60.0) <= 60.0
    assert settings.user_agent == "me"


def test_configs_are_not_watched_where_the_gate_says_so() -> None:
    options = CommonOptions(gates=GATES | {"DisableConfigWatchers": True})

    assert DeliverySettings.of(options).config_selector == ""


KIND = DeliveryKind(
    resource=KUSTOMIZATION,
    model=Kustomization,
    memory=ObjectMemory,
    indexes={"source": lambda _: (), "dependency": lambda _: (), "config": lambda _: ()},
    kind_of_source=lambda _: "",
    has_tried=lambda _obj, _revision: False,
    field_manager="m",
    conditions=frozenset({"Ready"}),
    source_not_ready="Missing",
)


class Controller(DeliveryController[Kustomization, ObjectMemory]):
    """One that corrects only what is in ``correct``."""

    correct = frozenset({KEY})

    async def _reconcile(self, key: ObjectKey) -> Result:
        return Result()

    def _corrects(self, key: ObjectKey) -> bool:
        return key in self.correct

    def drift(self, key: ObjectKey) -> None:
        self._drifted(key)

    def know(self, obj: JsonObject) -> None:
        self._own.store.put(obj)

    def is_one_cache(self) -> bool:
        return self._own is self._everyone


def make(**settings: Any) -> Controller:
    cluster, clock, log = Cluster(None), RealClock(), get_logger("test")
    parts = DeliveryParts(
        client=cluster.client,
        informers=InformerFactory(cluster.client, clock, log),
        events=cast("EventRecorder", None),
        metrics=Metrics(),
        clock=clock,
        log=log,
    )
    return Controller(KIND, parts, DeliverySettings(**settings))


@pytest.mark.parametrize(
    ("obj", "is_woken"),
    [
        (kustomization(), True),
        (kustomization() | {"spec": {"suspend": True}}, False),
        (kustomization(name="other"), False),
        (None, False),
    ],
    ids=["in place", "suspended", "not in place", "gone"],
)
async def test_drift_wakes_who_corrects_it(obj: JsonObject | None, *, is_woken: bool) -> None:
    controller = make()
    key = KEY
    if obj is not None:
        controller.know(obj)
        key = ObjectKey("team", obj["metadata"]["name"])
    before = len(controller.queue)
    controller.drift(key)

    assert len(controller.queue) - before == (1 if is_woken else 0)


@pytest.mark.parametrize("selector", ["", "shard=a"])
async def test_a_shard_knows_the_dependencies_in_others(selector: str) -> None:
    assert make(label_selector=selector).is_one_cache() is not bool(selector)


def test_owned_objects_bear_the_name_of_their_owner() -> None:
    assert KIND.owner_label == "kustomize.toolkit.fluxcd.io/name"
