"""Tokens of service accounts, by devcluster and by the real API server, judged as a cloud would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from devcluster import DevCluster, Options
from fluvial.cloud.accounts import Accounts
from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.model import ServiceAccount
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.objects import ObjectKey

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/git"}
TENANT = ServiceAccount("cloud-tenant", "puller")


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """The admin's, with a tenant's service account."""
    async with AsyncExitStack() as stack:
        if request.param == "real":
            made = request.getfixturevalue("real_control_plane").kubeconfig()
        else:
            made = (await stack.enter_async_context(DevCluster(Options()))).kubeconfig()
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(made))
        client = await stack.enter_async_context(
            await config.load_client(kubeconfig=file, user_agent="test")
        )
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cloud-tenant"}}
        key = ObjectKey("", "cloud-tenant")
        await client.apply(kinds.NAMESPACE, key, namespace, field_manager="test")
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "puller", "namespace": "cloud-tenant", "annotations": ROLE},
        }
        await client.apply(kinds.SERVICE_ACCOUNT, TENANT.key, account, field_manager="test")
        yield client


async def verified(client: KubeClient, token: str) -> dict[str, Any]:
    """The claims, by the cluster's published keys; devcluster publishes none."""
    try:
        keys = await client.request("GET", "/openid/v1/jwks", accept="application/jwk-set+json")
    except NotFound:
        plain: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return plain
    known = {key.key_id: key for key in jwt.PyJWKSet.from_dict(keys).keys}
    key = known[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["RS256", "ES256"], audience="sts.amazonaws.com"
    )
    return claims


async def test_who_may_not_gets_no_token(client: KubeClient) -> None:
    account = await Accounts(client).read(TENANT)
    stranger = client.impersonate("system:serviceaccount:cloud-tenant:puller")
    with pytest.raises(InvalidIdentity, match=r"serviceaccounts/token|cannot create"):
        await Accounts(stranger).token(account, "sts.amazonaws.com")
    with pytest.raises(InvalidIdentity, match="failed to get the service account"):
        await Accounts(stranger).read(TENANT)


async def test_one_that_there_is_not(client: KubeClient) -> None:
    with pytest.raises(InvalidIdentity, match="'cloud-tenant/nobody' not found"):
        await Accounts(client).read(ServiceAccount("cloud-tenant", "nobody"))


async def test_a_token_that_a_cloud_can_verify(client: KubeClient) -> None:
    """For that cloud and for nobody else."""
    accounts = Accounts(client)
    account = await accounts.read(TENANT)
    token = await accounts.token(account, "sts.amazonaws.com")
    claims = await verified(client, token)

    assert account.annotation("eks.amazonaws.com/role-arn") == ROLE["eks.amazonaws.com/role-arn"]
    assert claims["sub"] == "system:serviceaccount:cloud-tenant:puller"
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["kubernetes.io"]["serviceaccount"]["uid"] == account.uid
