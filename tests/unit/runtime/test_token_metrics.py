"""The cache of cloud credentials tells how it does."""

from __future__ import annotations

import structlog

from fluvial.cloud.tokens import CacheObserver
from fluvial.objects import ObjectKey
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.token_metrics import TokenCacheMetrics

EVENTS = "gotk_token_cache_events_total"
LABELS = {"kind": "GitRepository", "name": "app", "namespace": "team-a", "operation": "reconcile"}


def value(metrics: Metrics, sample: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(sample, labels)


def test_the_names_are_those_of_the_dashboards() -> None:
    metrics = Metrics()
    observer: CacheObserver = TokenCacheMetrics(metrics)
    for hit in (False, True):
        observer.answered(hit=hit)
    observer.failed()
    observer.evicted()
    observer.holds(3)

    assert value(metrics, "gotk_token_cache_requests_total", status="success") == 2
    assert value(metrics, "gotk_token_cache_requests_total", status="failure") == 1
    assert value(metrics, "gotk_token_cache_evictions_total") == 1
    assert value(metrics, "gotk_token_cached_items") == 3


def test_the_object_that_asks_is_named_until_it_is_gone() -> None:
    metrics = Metrics()
    observer = TokenCacheMetrics(metrics)
    asker = {"controllerKind": "GitRepository", "namespace": "team-a", "name": "app"}
    with structlog.contextvars.bound_contextvars(**asker):
        for hit in (False, True, True):
            observer.answered(hit=hit)
    assert value(metrics, EVENTS, event_type="cache_miss", **LABELS) == 1
    assert value(metrics, EVENTS, event_type="cache_hit", **LABELS) == 2

    metrics.delete_object("GitRepository", ObjectKey("team-a", "app"))
    assert value(metrics, EVENTS, event_type="cache_hit", **LABELS) is None
