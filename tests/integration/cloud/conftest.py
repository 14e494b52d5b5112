"""A cloud, clocks, keys and service accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clouds.clocks import TwoClocks
from clouds.fake import FakeCloud
from clouds.kube import FakeAccounts
from clouds.metadata import no_metadata
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.settings import CloudSettings

_HOSTS = (
    "sts.eu-west-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "api.ecr.eu-west-1.amazonaws.com",
    "api.ecr-public.us-east-1.amazonaws.com",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "team.azurecr.io",
    "oauth2.googleapis.com",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "api.github.com",
    "github.corp.example",
    "sts.us-east-2.amazonaws.com",
    "eks.us-east-2.amazonaws.com",
    "container.googleapis.com",
    "management.azure.com",
    "management.usgovcloudapi.net",
)

Make = Callable[..., CloudIdentities]


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def accounts() -> FakeAccounts:
    return FakeAccounts()


@pytest.fixture(scope="session")
def rsa_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[FakeCloud]:
    async with await FakeCloud(*_HOSTS).start(tmp_path) as found:
        yield found


@pytest.fixture
def make(cloud: FakeCloud, accounts: FakeAccounts, clock: TwoClocks) -> Make:
    """Identities of a controller with an environment, and with the gate on unless told."""

    def build(environ: dict[str, str] | None = None, **more: Any) -> CloudIdentities:
        settings = CloudSettings.read(environ or {})
        options: dict[str, Any] = {"object_level": True, "metadata": no_metadata(), **more}
        return CloudIdentities(
            cloud.http(), accounts.client, clock=clock, settings=settings, **options
        )

    return build
