"""Clusters of Azure Kubernetes Service: where they are, and tokens that their API servers take.

https://learn.microsoft.com/rest/api/aks/managed-clusters/list-cluster-user-credentials.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Final
from urllib.parse import quote, urlsplit

from yarl import URL

from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.http import Answer, Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import AccessToken, Identity
from fluvial.cloud.places import authority_of, place_of
from fluvial.kube.described import Endpoint
from fluvial.kube.kubeconfig import InvalidKubeConfig, parse, select

__all__ = ["check_id", "describe", "token"]

_ID = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"/resourceGroups/(?P<group>[-\w.()]{1,90})"
    r"/providers/Microsoft\.ContainerService/managedClusters/(?P<name>[a-z0-9][-_a-z0-9]{0,62})",
    re.IGNORECASE | re.ASCII,
)
_SCOPE: Final = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""The application that all clusters share, in every directory."""
_MANAGERS: Final = {
    "login.microsoftonline.us": "management.usgovcloudapi.net",
    "login.chinacloudapi.cn": "management.chinacloudapi.cn",
    "login.partner.microsoftonline.cn": "management.chinacloudapi.cn",
}
_MANAGER: Final = "management.azure.com"
_VERSION: Final = "2024-02-01"


def check_id(cluster: str) -> re.Match[str]:
    """The parts of a cluster's id, which become parts of a path.

    Raises:
        InvalidIdentity: it is not one.

    """
    found = _ID.fullmatch(cluster)
    if found is None or found["group"] in {".", ".."}:
        raise InvalidIdentity(
            "cluster: must be the id of a cluster of AKS, /subscriptions/<id>/resourceGroups/"
            "<group>/providers/Microsoft.ContainerService/managedClusters/<name>"
        )
    return found


async def describe(
    identities: CloudIdentities, cluster: str, *, identity: Identity
) -> tuple[Endpoint, ...]:
    """Where a cluster is.

    Args:
        identities: of the process.
        cluster: its id.
        identity: who asks, with the role Azure Kubernetes Service Cluster User.

    Raises:
        InvalidIdentity: people do not log in to it by Entra ID.
        CloudError: see ``errors``.

    """
    parts = check_id(cluster)
    host = _MANAGERS.get(urlsplit(identities.azure_authority).hostname or "", _MANAGER)
    found = await identities.azure(identity, scope=f"https://{host}/.default")
    path = (
        f"/subscriptions/{parts['subscription']}"
        f"/resourceGroups/{quote(parts['group'], safe='')}"
        f"/providers/Microsoft.ContainerService/managedClusters/{parts['name']}"
        f"/listClusterUserCredential?api-version={_VERSION}"
    )
    question = Question(
        "POST",
        URL(f"https://{host}{path}", encoded=True),
        "the addresses of the cluster",
        {"Authorization": f"Bearer {found.token}", "Accept": "application/json"},
        secrets=(found.token,),
    )
    answer = await identities.http.ask(question)
    configs = answer.json().get("kubeconfigs")
    if not isinstance(configs, list) or not configs:
        raise answer.unreadable()
    return tuple([await asyncio.to_thread(_place, answer, config) for config in configs])


async def token(identities: CloudIdentities, *, identity: Identity) -> AccessToken:
    """A token that clusters take.

    Raises:
        CloudError: see ``errors``.

    """
    return await identities.azure(identity, scope=_SCOPE)


def _place(answer: Answer, config: object) -> Endpoint:
    value = config.get("value") if isinstance(config, dict) else None
    try:
        document = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        selected = select(parse(document))
        if selected.user.get("client-certificate-data") or selected.user.get("token"):
            raise InvalidIdentity(
                "cluster: people do not log in to it by Microsoft Entra ID, so no identity can"
            )
        authority = selected.text(selected.cluster, "certificate-authority-data")
        return place_of(answer, selected.server, authority_of(answer, authority))
    except (InvalidKubeConfig, binascii.Error, ValueError):
        raise answer.unreadable() from None
