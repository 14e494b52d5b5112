"""Buckets in a world of sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fluvial.clock import RealClock
from fluvial.cloud.azure import AzureSecret
from fluvial.cloud.errors import LoginRefused
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, AccessToken, AwsCredentials, Identity, Way
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.objects import JsonObject
from harness.outbound import loopback_dialer
from harness.source import SourceWorld
from source_controller.assemble import Settings

__all__ = ["BucketWorld", "FakeIdentities", "bucket_world"]


class FakeIdentities(CloudIdentities):
    """Clouds that give everybody something, and note to whom.

    Attributes:
        asked: for whom credentials were wanted, with what of the spec.
        refused: whether they give nothing.
        role: what AWS gives.

    """

    def __init__(self, client: KubeClient) -> None:
        http = CloudHttp(loopback_dialer())
        super().__init__(http, client, clock=RealClock(), object_level=True)
        self.asked: list[tuple[Any, ...]] = []
        self.refused = False
        self.role = AwsCredentials("AKIA-ROLE", "role-secret", "role-session", _later())

    async def aws(
        self, identity: Identity, *, region: str = "", sts_endpoint: str = "", way: Way = DIRECT
    ) -> AwsCredentials:
        self._note("aws", identity, region, sts_endpoint)
        return self.role

    async def azure(self, identity: Identity, *, scope: str = "", way: Way = DIRECT) -> AccessToken:
        self._note("azure", identity)
        return AccessToken("azure-token", _later())

    async def gcp(
        self, identity: Identity, *, scopes: tuple[str, ...] = (), way: Way = DIRECT
    ) -> AccessToken:
        self._note("gcp", identity, scopes)
        return AccessToken("gcp-token", _later())

    async def azure_secret(
        self, secret: AzureSecret, *, scope: str = "", way: Way = DIRECT
    ) -> AccessToken:
        self._note("azure_secret", secret)
        return AccessToken("azure-secret-token", _later())

    async def gcp_secret(
        self, key: bytes, *, scopes: tuple[str, ...] = (), way: Way = DIRECT
    ) -> AccessToken:
        self._note("gcp_secret", key, scopes)
        return AccessToken("gcp-secret-token", _later())

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refused:
            raise LoginRefused("login.example refused a token with status 401", status=401)


class BucketWorld(SourceWorld):
    """A ``SourceWorld`` whose names are about Buckets."""

    resource = kinds.BUCKET
    identities: FakeIdentities

    def __init__(self, folder: Path, client: KubeClient) -> None:
        super().__init__(folder, client)
        self.identities = FakeIdentities(client)

    async def bucket(self, name: str = "app", **spec: Any) -> JsonObject:
        """A Bucket over plain HTTP; ``None`` leaves a field out."""
        fields: dict[str, Any] = {"interval": "1h", "bucketName": "bucket", "insecure": True}
        fields |= spec
        return await self.make(name, **fields)


@asynccontextmanager
async def bucket_world(
    folder: Path, *, settings: Settings | None = None
) -> AsyncIterator[BucketWorld]:
    """A world of Buckets."""
    async with BucketWorld.start(folder, settings=settings) as world:
        assert isinstance(world, BucketWorld)
        yield world


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
