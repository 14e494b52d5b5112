"""Clusters of Amazon EKS: where they are, and tokens that their API servers take.

A token is the address of a request to STS that says who signed it; the cluster sends that request.
https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html,
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta

from yarl import URL

from fluvial.cloud.aws import check_region, domain_of
from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.http import Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, AccessToken, Identity
from fluvial.cloud.places import authority_of, place_of
from fluvial.cloud.sigv4 import Signer
from fluvial.kube.described import Endpoint

__all__ = ["describe", "parse_arn", "presigned_token", "token"]

_ARN = re.compile(
    r"arn:aws[a-z-]{0,20}:eks:(?P<region>[a-z0-9-]{1,40}):[0-9]{1,30}"
    r":cluster/(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,99})"
)
_PREFIX = "k8s-aws-v1."
_CLUSTER_HEADER = "x-k8s-aws-id"
_SECONDS = 900


def parse_arn(cluster: str) -> tuple[str, str]:
    """Region and name of a cluster.

    Raises:
        InvalidIdentity: it is not the ARN of one.

    """
    found = _ARN.fullmatch(cluster)
    if found is None:
        raise InvalidIdentity(
            "cluster: must be the ARN of a cluster of EKS,"
            " arn:aws:eks:<region>:<account>:cluster/<name>"
        )
    return check_region(found["region"]), found["name"]


async def describe(
    identities: CloudIdentities, cluster: str, *, identity: Identity
) -> tuple[Endpoint, ...]:
    """Where a cluster is.

    Args:
        identities: of the process.
        cluster: its ARN.
        identity: who asks, and may ``eks:DescribeCluster``.

    Raises:
        CloudError: see ``errors``.

    """
    region, name = parse_arn(cluster)
    credentials = await identities.aws(identity, region=region)
    url = URL(f"https://eks.{region}.{domain_of(region)}/clusters/{name}")
    signed = Signer(credentials, region, "eks").sign("GET", url, now=identities.clock.now())
    question = Question("GET", url, "the description of the cluster", signed)
    answer = await identities.http.ask(question)
    document = answer.json().get("cluster")
    if not isinstance(document, dict):
        raise answer.unreadable()
    authority = document.get("certificateAuthority")
    data = authority.get("data") if isinstance(authority, dict) else None
    return (place_of(answer, document.get("endpoint"), authority_of(answer, data)),)


async def token(
    identities: CloudIdentities,
    cluster: str,
    *,
    identity: Identity,
    about: str,
    renew: bool = False,
) -> AccessToken:
    """A token for a cluster, good for a quarter of an hour.

    Args:
        identities: of the process.
        cluster: its ARN.
        identity: who logs in.
        about: what it is for, as a part of its key: a digest.
        renew: the one that is kept was refused.

    Raises:
        CloudError: see ``errors``.

    """
    region, name = parse_arn(cluster)
    credentials = await identities.aws(identity, region=region)
    keys = (credentials.access_key, credentials.secret_key, credentials.session_token)
    digest = hashlib.sha256("\0".join(keys).encode()).hexdigest()
    parts = {"cluster": cluster, "about": about, "keys": digest}

    async def make() -> AccessToken:
        now = identities.clock.now()
        until = now + timedelta(seconds=_SECONDS)
        if credentials.expires_at is not None:
            until = min(until, credentials.expires_at)
        signer = Signer(credentials, region, "sts")
        url = URL(
            f"https://sts.{region}.{domain_of(region)}/"
            "?Action=GetCallerIdentity&Version=2011-06-15",
            encoded=True,
        )
        headers = {_CLUSTER_HEADER: name}
        presigned = signer.presign(url, now=now, seconds=_SECONDS, headers=headers)
        return AccessToken(presigned_token(presigned), until)

    return await identities.cached("eks", parts, DIRECT, make, renew=renew)


def presigned_token(url: URL) -> str:
    """The token that stands for a signed address."""
    return _PREFIX + base64.urlsafe_b64encode(str(url).encode()).rstrip(b"=").decode()
