"""Clusters of Google Kubernetes Engine: where they are; their API servers take Google's tokens.

https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from yarl import URL

from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.gcp import PLATFORM_SCOPE
from fluvial.cloud.http import Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import AccessToken, Identity
from fluvial.cloud.places import authority_of, place_of
from fluvial.kube.described import Endpoint

__all__ = ["check_name", "describe", "token"]

_NAME = re.compile(
    r"projects/[a-z0-9][a-z0-9.:-]{1,99}/locations/[a-z0-9-]{1,60}/clusters/[a-z0-9-]{1,100}"
)
_SCOPES: Final = (PLATFORM_SCOPE, "https://www.googleapis.com/auth/userinfo.email")
"""By the second one the cluster knows a service account by its address, as RBAC names it."""


def check_name(cluster: str) -> str:
    """The name of a cluster, which becomes part of a path.

    Raises:
        InvalidIdentity: it is not one.

    """
    if not _NAME.fullmatch(cluster) or ".." in cluster:
        raise InvalidIdentity(
            "cluster: must be the name of a cluster of GKE,"
            " projects/<project>/locations/<location>/clusters/<name>"
        )
    return cluster


async def describe(
    identities: CloudIdentities, cluster: str, *, identity: Identity
) -> tuple[Endpoint, ...]:
    """Where a cluster is.

    Args:
        identities: of the process.
        cluster: its name with project and location.
        identity: who asks, and may ``container.clusters.get``.

    Raises:
        CloudError: see ``errors``.

    """
    found = await token(identities, identity=identity)
    question = Question(
        "GET",
        URL(f"https://container.googleapis.com/v1/{check_name(cluster)}"),
        "the description of the cluster",
        {"Authorization": f"Bearer {found.token}", "Accept": "application/json"},
        secrets=(found.token,),
    )
    answer = await identities.http.ask(question)
    document = answer.json()
    auth = document.get("masterAuth")
    ca = authority_of(answer, auth.get("clusterCaCertificate") if isinstance(auth, dict) else None)
    places = [place_of(answer, document.get("endpoint"), ca)]
    places += [place_of(answer, other, ca) for other in _others(document)]
    name = _at(document, "controlPlaneEndpointsConfig", "dnsEndpointConfig").get("endpoint")
    if name:  # its certificate is of an authority that everybody trusts
        places.append(place_of(answer, name, ""))
    return tuple(places)


async def token(identities: CloudIdentities, *, identity: Identity) -> AccessToken:
    """A token that clusters take.

    Raises:
        CloudError: see ``errors``.

    """
    return await identities.gcp(identity, scopes=_SCOPES)


def _others(document: Mapping[str, Any]) -> Iterator[str]:
    """The addresses beside the usual one, inside and outside of the network."""
    for path in (("privateClusterConfig",), ("controlPlaneEndpointsConfig", "ipEndpointsConfig")):
        section = _at(document, *path)
        for name in ("publicEndpoint", "privateEndpoint"):
            if section.get(name):
                yield str(section[name])


def _at(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        found = document.get(name)
        document = found if isinstance(found, dict) else {}
    return document
