"""What the cache of cloud credentials does, under the names that Flux' dashboards query."""

from __future__ import annotations

import structlog

from fluvial.runtime.metrics import Metrics

__all__ = ["TokenCacheMetrics"]


class TokenCacheMetrics:
    """A ``fluvial.cloud.tokens.CacheObserver``.

    Whose credential it is, is what the log lines of the same reconcile say.

    Args:
        metrics: of the process.
        operation: for which objects ask: ``reconcile``, or ``post`` of what is told.

    """

    def __init__(self, metrics: Metrics, *, operation: str = "reconcile") -> None:
        self._operation = operation
        self._events = metrics.token_events
        self._items = metrics.gauge("gotk_token_cached_items", "Number of cached credentials.")
        self._requests = metrics.counter(
            "gotk_token_cache_requests", "Requests for credentials by how they ended.", ("status",)
        )
        self._evictions = metrics.counter(
            "gotk_token_cache_evictions", "Credentials that made room for others."
        )

    def answered(self, *, hit: bool) -> None:
        """A request was served."""
        self._requests.labels("success").inc()
        asker = structlog.contextvars.get_contextvars()
        kind, namespace, name = (
            asker.get(field, "") for field in ("controllerKind", "namespace", "name")
        )
        if kind:
            event = "cache_hit" if hit else "cache_miss"
            self._events.labels(event, kind, name, namespace, self._operation).inc()

    def failed(self) -> None:
        """A request was not."""
        self._requests.labels("failure").inc()

    def evicted(self) -> None:
        """A credential was dropped."""
        self._evictions.inc()

    def holds(self, number: int) -> None:
        """The size changed."""
        self._items.set(number)
