"""How a controller, and the objects that it works for, log in to clouds: what flags say, put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from fluvial.clock import Clock
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.settings import CloudSettings
from fluvial.cloud.tokens import TokenCache
from fluvial.kube.client import KubeClient
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.options import IDENTITY_GATE, CommonOptions
from fluvial.runtime.token_metrics import TokenCacheMetrics

__all__ = ["IdentityRules"]


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Who may log in as whom, and how long a credential is kept.

    Attributes:
        cloud: what the environment says about the controller's own cloud identities.
        object_level: whether objects may have their own (gate ObjectLevelWorkloadIdentity).
        default_account: service account of objects that name none.
        cache_size: number of cached credentials.
        cache_seconds: that one is cached at most.

    """

    cloud: CloudSettings = field(default_factory=CloudSettings)
    object_level: bool = False
    default_account: str = ""
    cache_size: int = 100
    cache_seconds: float = 3600.0

    @classmethod
    def of(cls, options: CommonOptions, cloud: CloudSettings, *, default_account: str) -> Self:
        """What the common options say."""
        return cls(
            cloud,
            object_level=options.gates[IDENTITY_GATE],
            default_account=default_account,
            cache_size=options.token_cache_max_size,
            cache_seconds=options.token_cache_max_duration,
        )

    def identities(
        self,
        http: CloudHttp,
        client: KubeClient,
        *,
        clock: Clock,
        metrics: Metrics,
        operation: str = "reconcile",
    ) -> CloudIdentities:
        """Identities with a cache of their own.

        Args:
            http: reaches the clouds' services.
            client: reads service accounts, and asks for their tokens.
            clock: the time.
            metrics: of the process.
            operation: for which objects ask; see ``TokenCacheMetrics``.

        """
        cache = TokenCache(
            clock,
            size=self.cache_size,
            longest=self.cache_seconds,
            observer=TokenCacheMetrics(metrics, operation=operation),
        )
        return CloudIdentities(
            http,
            client,
            clock=clock,
            cache=cache,
            settings=self.cloud,
            object_level=self.object_level,
            default_account=self.default_account,
        )
