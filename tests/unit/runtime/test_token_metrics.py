"""The cache of cloud credentials tells how it does."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from fluvial.cloud.tokens import CacheObserver
from fluvial.runtime.token_metrics import TokenCacheMetrics


def test_the_names_are_those_of_the_dashboards() -> None:
    registry = CollectorRegistry()
    observer: CacheObserver = TokenCacheMetrics(registry)
    for hit in (False, True):
        observer.answered(hit=hit)
    observer.failed()
    observer.evicted()
    observer.holds(3)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("gotk_token_cache_requests_total", status="success") == 2
    assert value("gotk_token_cache_requests_total", status="failure") == 1
    assert value("gotk_token_cache_evictions_total") == 1
    assert value("gotk_token_cached_items") == 3
