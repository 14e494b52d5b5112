"""Remote clusters that ConfigMaps describe: whose token goes where, and for how long.

https://docs.aws.amazon.com/cli/latest/reference/eks/describe-cluster.html (its example),
https://learn.microsoft.com/rest/api/aks/managed-clusters/list-cluster-user-credentials (its example),
https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from fluvial.clock import format_time
from fluvial.cloud.clusters import CloudClusters
from fluvial.cloud.errors import CloudError
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.auth import CredentialsError
from fluvial.kube.described import Description, read_description
from fluvial.kube.errors import Unreachable
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from fluvial.objects import JsonObject, ObjectKey
from gitservers.certs import TestCA

Make = Callable[..., CloudIdentities]
ADDRESS = "https://cluster.example"
ARN = "arn:aws:eks:us-east-2:111122223333:cluster/my-eks-cluster"
EKS_HOST, STS_HOST = "eks.us-east-2.amazonaws.com", "sts.us-east-2.amazonaws.com"
EKS_ENDPOINT = "https://jsa79429hjdaskjdj8223829mndnasw.yl4.us-east-2.eks.amazonaws.com:443"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}
AKS = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg1"
    "/providers/Microsoft.ContainerService/managedClusters/clustername1"
)
AKS_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
GKE = "projects/my-project/locations/europe-west1/clusters/my-cluster"
TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = {
    "azure.workload.identity/tenant-id": TENANT,
    "azure.workload.identity/client-id": "66666666-7777-8888-9999-000000000000",
}


class Issuing(FakeAccounts):
    """Gives out numbered tokens that say whose they are and whom they are for."""

    def __init__(self, clock: TwoClocks) -> None:
        super().__init__()
        self._clock = clock
        self.life = 3600.0
        self.away = False

    async def request(self, method: str, path: str, *, body: JsonObject, **more: Any) -> JsonObject:
        if self.away:
            raise Unreachable("cannot reach the API server")
        await super().request(method, path, body=body, **more)
        until = format_time(self._clock.now() + timedelta(seconds=self.life))
        whom = ",".join(body["spec"]["audiences"])
        token = f"{path.rsplit('/', 4)[1]}/{path.rsplit('/', 2)[1]}/{whom}/{len(self.requests)}"
        return {"status": {"token": token, "expirationTimestamp": until}}


@pytest.fixture
def accounts(clock: TwoClocks) -> Issuing:
    found = Issuing(clock)
    for namespace in ("team-a", "team-b"):
        found.annotate(
            namespace,
            "remote",
            {**ENTRA, "eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/remote"},
        )
    return found


@pytest.fixture(scope="module")
def authority() -> TestCA:
    return TestCA("cluster")


def clusters(identities: CloudIdentities) -> CloudClusters:
    return CloudClusters(identities, Dialer(AddressPolicy.build()))


def described(namespace: str = "team-a", **data: str) -> Description:
    """``ca`` stands for ``ca.crt``, ``account`` for ``serviceAccountName``."""
    names = {"ca": "ca.crt", "account": "serviceAccountName"}
    return read_description(namespace, {names.get(name, name): data[name] for name in data})


def generic(namespace: str = "team-a", **data: str) -> Description:
    usual = {"provider": "generic", "address": ADDRESS, "account": "remote"}
    return described(namespace, **{**usual, **data})


def own_token(folder: Path, subject: str = "system:serviceaccount:flux-system:controller") -> str:
    """A mounted token's file."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": subject}).encode()).rstrip(b"=").decode()
    file = folder / "token"
    file.write_text(f"e30.{claims}.signature")
    return str(file)


# --- who may log in -------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["generic", "aws", "azure", "gcp"])
async def test_a_service_account_needs_the_gate(
    cloud: FakeCloud, make: Make, accounts: Issuing, provider: str
) -> None:
    found = clusters(make(object_level=False))
    description = generic(provider=provider)
    for ask in (found.endpoint(description), found.token(description)):
        with pytest.raises(CloudError, match="serviceAccountName: needs the feature gate Object"):
            await ask

    assert (cloud.asked, accounts.requests) == ([], [])


async def test_a_missing_service_account_is_named(make: Make) -> None:
    with pytest.raises(CloudError, match="'team-a/nobody' not found"):
        await clusters(make()).token(generic(account="nobody"))


async def test_the_account_is_of_the_namespace_of_the_config_map(
    make: Make, accounts: Issuing
) -> None:
    found = clusters(make())
    tokens = [(await found.token(generic(namespace))).token for namespace in ("team-a", "team-b")]

    assert tokens == [f"team-a/remote/{ADDRESS}/1", f"team-b/remote/{ADDRESS}/2"]


async def test_the_default_account_is_used_where_none_is_named(
    make: Make, accounts: Issuing
) -> None:
    found = clusters(make(default_account="remote"))
    token = await found.token(described(provider="generic", address=ADDRESS))

    assert token.token == f"team-a/remote/{ADDRESS}/1"


async def test_audiences_are_those_of_the_config_map(make: Make, accounts: Issuing) -> None:
    token = await clusters(make()).token(generic(audiences="one\ntwo"))

    assert token.token == "team-a/remote/one,two/1"


async def test_the_controllers_own_token_is_for_the_address_alone(
    make: Make, accounts: Issuing, tmp_path: Path
) -> None:
    """Whoever writes a ConfigMap chooses the address, and gets no token for any other place."""
    accounts.annotate("flux-system", "controller", {})
    found = clusters(make(object_level=False, own_token_file=own_token(tmp_path)))
    with pytest.raises(CloudError, match=r"audiences: .* serviceAccountName is not set"):
        await found.token(generic(account="", audiences="https://kubernetes.default.svc"))
    plain = await found.token(generic(account=""))
    bare = await found.token(generic(account="", address="cluster.example"))

    assert plain.token == f"flux-system/controller/{ADDRESS}/1"
    assert bare.token == f"flux-system/controller/{ADDRESS}:443/2"


@pytest.mark.parametrize("text", ["nonsense", "a.b.c", "a.e30.c"])
async def test_a_controller_that_is_no_service_account_has_no_token(
    make: Make, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    for path in (str(file), str(tmp_path / "nothing")):
        with pytest.raises(CloudError, match="the pod's own"):
            await clusters(make(own_token_file=path)).token(generic(account=""))


# --- for how long ---------------------------------------------------------------------------------


async def test_a_token_is_kept_and_renewed_before_it_ends(
    make: Make, accounts: Issuing, clock: TwoClocks
) -> None:
    auth = clusters(make()).auth(generic())
    first = await auth.header()
    clock.step(0.79 * 3600)
    kept = await auth.header()
    clock.step(0.02 * 3600)
    renewed = await auth.header()

    assert first == kept == f"Bearer team-a/remote/{ADDRESS}/1"
    assert renewed == f"Bearer team-a/remote/{ADDRESS}/2"


async def test_nothing_is_shared_between_config_maps_or_namespaces(
    make: Make, accounts: Issuing
) -> None:
    found = clusters(make())
    variants = [generic(), generic("team-b"), generic(cluster="x"), generic(audiences=ADDRESS)]
    tokens = [(await found.token(one)).token for one in (*variants, *variants)]

    assert len(set(tokens)) == len(variants)
    assert tokens[:4] == tokens[4:]


async def test_an_account_that_is_taken_away_counts_at_once(
    make: Make, accounts: Issuing, clock: TwoClocks
) -> None:
    auth = clusters(make()).auth(generic())
    await auth.header()
    del accounts.annotations[ObjectKey("team-a", "remote")]
    clock.step(10)
    with pytest.raises(CredentialsError, match="'team-a/remote' not found"):
        await auth.header()


async def test_one_that_was_made_anew_gets_a_token_of_its_own(
    make: Make, accounts: Issuing, clock: TwoClocks
) -> None:
    auth = clusters(make()).auth(generic())
    first = await auth.header()
    accounts.uids[ObjectKey("team-a", "remote")] = "another"
    clock.step(10)

    assert await auth.header() != first


async def test_while_nobody_answers_a_good_token_goes_on(
    make: Make, accounts: Issuing, clock: TwoClocks
) -> None:
    auth = clusters(make()).auth(generic())
    first = await auth.header()
    accounts.away = True
    clock.step(0.9 * 3600)
    assert await auth.header() == first

    clock.step(0.1 * 3600)
    with pytest.raises(CredentialsError, match="cannot reach"):
        await auth.header()


async def test_a_refused_token_is_renewed_once_a_minute(
    make: Make, accounts: Issuing, clock: TwoClocks
) -> None:
    auth = clusters(make()).auth(generic())
    await auth.header()
    renewed = [await auth.refresh(), await auth.refresh()]
    clock.step(60)
    renewed.append(await auth.refresh())

    assert renewed == [True, False, True]
    assert await auth.header() == f"Bearer team-a/remote/{ADDRESS}/3"


async def test_an_expired_token_is_no_token(make: Make, accounts: Issuing) -> None:
    accounts.life = -1
    with pytest.raises(CredentialsError, match="expired"):
        await clusters(make()).auth(generic()).header()


# --- Amazon EKS -----------------------------------------------------------------------------------


def eks_reply(authority: TestCA, **change: Any) -> Callable[[Asked], Reply]:
    """The example of the documentation, with a real certificate; to whoever signs for EKS."""
    data = base64.b64encode(authority.pem.encode()).decode()
    cluster = {
        "name": "my-eks-cluster",
        "arn": ARN,
        "version": "1.26",
        "endpoint": "https://JSA79429HJDASKJDJ8223829MNDNASW.yl4.us-east-2.eks.amazonaws.com",
        "status": "ACTIVE",
        "certificateAuthority": {"data": data},
        **change,
    }

    def reply(asked: Asked) -> Reply:
        signed = "us-east-2/eks/aws4_request" in asked.headers.get("Authorization", "")
        if asked.method != "GET" or not signed or "X-Amz-Date" not in asked.headers:
            return json_reply({"message": "Missing Authentication Token"}, 403)
        return json_reply({"cluster": cluster})

    return reply


@pytest.fixture
def eks(cloud: FakeCloud, authority: TestCA) -> FakeCloud:
    cloud.on(EKS_HOST, "/clusters/my-eks-cluster", eks_reply(authority))
    return cloud


@pytest.mark.parametrize(
    "cluster",
    [
        "",
        "my-eks-cluster",
        "arn:aws:eks:evil.example:1:cluster/x",
        "arn:aws:eks:us-east-2:1:cluster/../x",
        "arn:aws:eks:us-east-2:1:cluster/x/y",
        "arn:aws:iam:us-east-2:1:cluster/x",
    ],
)
async def test_a_cluster_of_eks_is_an_arn(cloud: FakeCloud, make: Make, cluster: str) -> None:
    found = clusters(make(KEYS))
    with pytest.raises(CloudError):
        await found.endpoint(described(provider="aws", cluster=cluster))

    assert cloud.asked == []


async def test_a_cluster_of_eks_is_found_and_logged_in_to(
    eks: FakeCloud, make: Make, authority: TestCA, clock: TwoClocks
) -> None:
    found = clusters(make(KEYS))
    description = described(provider="aws", cluster=ARN)
    endpoint = await found.endpoint(description)
    await found.endpoint(description)
    token = await found.token(description)
    prefix, _, packed = token.token.partition(".")
    address = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()

    assert (endpoint.address, endpoint.ca) == (EKS_ENDPOINT, authority.pem)
    assert [asked.host for asked in eks.asked] == [EKS_HOST]
    assert prefix == "k8s-aws-v1"
    assert "=" not in packed
    assert address.startswith(f"https://{STS_HOST}/?Action=GetCallerIdentity&Version=2011-06-15&")
    assert "X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&" in address
    assert token.expires_at == clock.now() + timedelta(seconds=900)


async def test_a_token_of_eks_is_renewed(eks: FakeCloud, make: Make, clock: TwoClocks) -> None:
    auth = clusters(make(KEYS)).auth(described(provider="aws", cluster=ARN))
    first = await auth.header()
    clock.step(0.81 * 900)

    assert await auth.header() != first


async def test_the_controller_shows_itself_to_no_other_address(
    eks: FakeCloud, make: Make, authority: TestCA
) -> None:
    found = clusters(make(KEYS))
    other = TestCA("other").pem
    for more, says in (
        ({"address": ADDRESS}, f"address: {ADDRESS}:443 is none of the cluster's: {EKS_ENDPOINT}"),
        ({"address": ADDRESS, "ca": authority.pem}, "address: .* is none of the cluster's"),
        ({"address": EKS_ENDPOINT, "ca": other}, "ca.crt: is not the cluster's"),
        ({"ca": other}, "ca.crt: is not the cluster's"),
    ):
        with pytest.raises(CloudError, match=says):
            await found.endpoint(described(provider="aws", cluster=ARN, **more))
    right = described(provider="aws", cluster=ARN, address=EKS_ENDPOINT, ca=authority.pem)

    assert (await found.endpoint(right)).address == EKS_ENDPOINT


async def test_a_service_account_goes_where_its_config_map_says(
    cloud: FakeCloud, make: Make, authority: TestCA
) -> None:
    """Nobody is asked where address and authority are written down."""
    description = described(
        provider="aws", cluster=ARN, address=ADDRESS, ca=authority.pem, account="remote"
    )
    endpoint = await clusters(make()).endpoint(description)

    assert endpoint.address == f"{ADDRESS}:443"
    assert cloud.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": ""},
        {"endpoint": None},
        {"endpoint": "http://cluster.example"},
        {"endpoint": "https://cluster.example/path"},
        {"certificateAuthority": {}},
        {"certificateAuthority": {"data": "CA_DATA_STRING..."}},
        {"certificateAuthority": {"data": "QUJD"}},
        {"certificateAuthority": None},
    ],
)
async def test_a_description_that_is_none(
    cloud: FakeCloud, make: Make, authority: TestCA, change: dict[str, Any]
) -> None:
    cloud.on(EKS_HOST, "/clusters/my-eks-cluster", eks_reply(authority, **change))
    with pytest.raises(CloudError, match="not valid"):
        await clusters(make(KEYS)).endpoint(described(provider="aws", cluster=ARN))


# --- Azure Kubernetes Service ---------------------------------------------------------------------


def kubeconfig(address: str, ca: str, user: JsonObject) -> JsonObject:
    """One entry of the answer, with a kubeconfig as the service makes it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "clustername1",
        "contexts": [
            {"name": "clustername1", "context": {"cluster": "clustername1", "user": "clusterUser"}}
        ],
        "clusters": [
            {
                "name": "clustername1",
                "cluster": {
                    "server": address,
                    "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                },
            }
        ],
        "users": [{"name": "clusterUser", "user": user}],
    }
    value = base64.b64encode(json.dumps(document).encode()).decode()
    return {"name": "clusterUser", "value": value}


_BY_ENTRA = {
    "auth-provider": {"name": "azure", "config": {"apiserver-id": AKS_SCOPE.partition("/")[0]}}
}


@pytest.fixture
def entra(cloud: FakeCloud) -> FakeCloud:
    """Gives out tokens that say which scope they are for."""

    def reply(asked: Asked) -> Reply:
        scope = asked.form["scope"]
        document = {"token_type": "Bearer", "expires_in": 3599, "access_token": f"for-{scope}"}
        return json_reply(document)

    cloud.on("login.microsoftonline.com", f"/{TENANT}/oauth2/v2.0/token", reply)
    return cloud


def answer_azure(cloud: FakeCloud, *configs: Any) -> None:
    def reply(asked: Asked) -> Reply:
        right = asked.headers.get("Authorization") == (
            "Bearer for-https://management.azure.com/.default"
        )
        if asked.method != "POST" or asked.query != "api-version=2024-02-01" or not right:
            return json_reply({"error": {"code": "AuthenticationFailed", "message": "no"}}, 401)
        return json_reply({"kubeconfigs": list(configs)})

    cloud.on("management.azure.com", f"{AKS}/listClusterUserCredential", reply)


async def test_a_cluster_of_aks_is_found_and_logged_in_to(
    entra: FakeCloud, make: Make, authority: TestCA
) -> None:
    answer_azure(
        entra,
        kubeconfig("https://public.azmk8s.io:443", authority.pem, _BY_ENTRA),
        kubeconfig("https://private.azmk8s.io", authority.pem, _BY_ENTRA),
    )
    found = clusters(make())
    usual = described(provider="azure", cluster=AKS, account="remote")
    private = described(
        provider="azure", cluster=AKS, account="remote", address="private.azmk8s.io"
    )

    assert (await found.endpoint(usual)).address == "https://public.azmk8s.io:443"
    assert (await found.endpoint(private)).address == "https://private.azmk8s.io:443"
    assert (await found.endpoint(usual)).ca == authority.pem
    assert (await found.token(usual)).token == f"for-{AKS_SCOPE}"


@pytest.mark.parametrize(
    ("configs", "says"),
    [
        ([], "not valid"),
        ([{"name": "credentialName1", "value": "Y3JlZGVudGlhbFZhbHVlMQ=="}], "not valid"),
        ([{"value": "!"}], "not valid"),
        (["x"], "not valid"),
    ],
    ids=["none", "the example, which is no kubeconfig", "no base64", "no object"],
)
async def test_credentials_that_are_none(
    entra: FakeCloud, make: Make, configs: list[Any], says: str
) -> None:
    answer_azure(entra, *configs)
    with pytest.raises(CloudError, match=says):
        await clusters(make()).endpoint(described(provider="azure", cluster=AKS, account="remote"))


async def test_a_cluster_without_entra_id_is_said(
    entra: FakeCloud, make: Make, authority: TestCA
) -> None:
    user = {"client-certificate-data": "QUJD", "client-key-data": "QUJD", "token": "a-secret-token"}
    answer_azure(entra, kubeconfig("https://x.azmk8s.io", authority.pem, user))
    with pytest.raises(CloudError, match=r"cluster: .* Microsoft Entra ID") as caught:
        await clusters(make()).endpoint(described(provider="azure", cluster=AKS, account="remote"))

    assert "a-secret-token" not in str(caught.value)


@pytest.mark.parametrize("cluster", ["", "clustername1", f"{AKS}/..", AKS.replace("rg1", "..")])
async def test_a_cluster_of_aks_is_an_id(cloud: FakeCloud, make: Make, cluster: str) -> None:
    with pytest.raises(CloudError, match=r"^cluster: "):
        await clusters(make()).endpoint(
            described(provider="azure", cluster=cluster, account="remote")
        )

    assert cloud.asked == []


# --- Google Kubernetes Engine ---------------------------------------------------------------------


@pytest.fixture
def google(cloud: FakeCloud, authority: TestCA, accounts: Issuing) -> FakeCloud:
    """Federation of the service account, and one cluster."""
    annotation = "gcp.auth.fluxcd.io/workload-identity-provider"
    name = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster"
    accounts.annotate("team-a", "remote", {annotation: name})

    def token(asked: Asked) -> Reply:
        document = {"token_type": "Bearer", "expires_in": 3599}
        return json_reply({**document, "access_token": f"for {asked.form['scope']}"})

    def describe(asked: Asked) -> Reply:
        right = "auth/cloud-platform" in asked.headers.get("Authorization", "")
        if asked.method != "GET" or not right:
            return json_reply({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, 401)
        ca = base64.b64encode(authority.pem.encode()).decode()
        dns = {"dnsEndpointConfig": {"endpoint": "gke-x.europe-west1.gke.goog"}}
        return json_reply(
            {
                "name": "my-cluster",
                "endpoint": "203.0.113.7",
                "masterAuth": {"clusterCaCertificate": ca},
                "privateClusterConfig": {"privateEndpoint": "10.0.0.2"},
                "controlPlaneEndpointsConfig": dns,
            }
        )

    cloud.on("sts.googleapis.com", "/v1/token", token)
    cloud.on("container.googleapis.com", f"/v1/{GKE}", describe)
    return cloud


async def test_a_cluster_of_gke_is_found_and_logged_in_to(
    google: FakeCloud, make: Make, authority: TestCA
) -> None:
    found = clusters(make())
    usual, private, by_name = (
        described(provider="gcp", cluster=GKE, account="remote", **more)
        for more in ({}, {"address": "10.0.0.2"}, {"address": "gke-x.europe-west1.gke.goog"})
    )
    token = (await found.token(usual)).token

    assert (await found.endpoint(usual)).address == "https://203.0.113.7:443"
    assert (await found.endpoint(usual)).ca == authority.pem
    assert (await found.endpoint(private)).address == "https://10.0.0.2:443"
    assert (await found.endpoint(by_name)).ca == ""
    assert token.endswith("auth/userinfo.email")


@pytest.mark.parametrize(
    "cluster", ["", "my-cluster", f"{GKE}/x", GKE.replace("my-project", ".."), f"{GKE}?a=b"]
)
async def test_a_cluster_of_gke_is_a_name(cloud: FakeCloud, make: Make, cluster: str) -> None:
    with pytest.raises(CloudError, match=r"^cluster: "):
        await clusters(make()).endpoint(
            described(provider="gcp", cluster=cluster, account="remote")
        )

    assert cloud.asked == []
