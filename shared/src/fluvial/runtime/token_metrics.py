"""What the cache of cloud credentials does, under the names that Flux' dashboards query."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["TokenCacheMetrics"]


class TokenCacheMetrics:
    """A ``fluvial.cloud.tokens.CacheObserver``.

    Args:
        registry: of the process.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._items = Gauge(
            "gotk_token_cached_items", "Number of cached credentials.", registry=registry
        )
        self._requests = Counter(
            "gotk_token_cache_requests",
            "Requests for credentials by how they ended.",
            ["status"],
            registry=registry,
        )
        self._evictions = Counter(
            "gotk_token_cache_evictions",
            "Credentials that made room for others.",
            registry=registry,
        )

    def answered(self, *, hit: bool) -> None:  # noqa: ARG002 - the observer's interface
        """A request was served."""
        self._requests.labels("success").inc()

    def failed(self) -> None:
        """A request was not."""
        self._requests.labels("failure").inc()

    def evicted(self) -> None:
        """A credential was dropped."""
        self._evictions.inc()

    def holds(self, number: int) -> None:
        """The size changed."""
        self._items.set(number)
