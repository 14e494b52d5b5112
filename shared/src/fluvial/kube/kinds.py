"""The resources that controllers name in code; all others come from discovery."""

from __future__ import annotations

from fluvial.kube.resource import Resource

__all__ = [
    "ALERT",
    "ARTIFACT_GENERATOR",
    "BUCKET",
    "CONFIG_MAP",
    "CRD",
    "EVENT",
    "EXTERNAL_ARTIFACT",
    "GIT_REPOSITORY",
    "HELM_CHART",
    "HELM_RELEASE",
    "HELM_REPOSITORY",
    "KUSTOMIZATION",
    "LEASE",
    "NAMESPACE",
    "OCI_REPOSITORY",
    "POD",
    "PROVIDER",
    "RECEIVER",
    "SECRET",
    "SERVICE_ACCOUNT",
]

_SOURCE = "source.toolkit.fluxcd.io"

ARTIFACT_GENERATOR = Resource(
    "source.extensions.fluxcd.io",
    "v1beta1",
    "artifactgenerators",
    "ArtifactGenerator",
    namespaced=True,
)
BUCKET = Resource(_SOURCE, "v1", "buckets", "Bucket", namespaced=True)
EXTERNAL_ARTIFACT = Resource(
    _SOURCE, "v1", "externalartifacts", "ExternalArtifact", namespaced=True
)
GIT_REPOSITORY = Resource(_SOURCE, "v1", "gitrepositories", "GitRepository", namespaced=True)
HELM_CHART = Resource(_SOURCE, "v1", "helmcharts", "HelmChart", namespaced=True)
HELM_REPOSITORY = Resource(_SOURCE, "v1", "helmrepositories", "HelmRepository", namespaced=True)
OCI_REPOSITORY = Resource(_SOURCE, "v1", "ocirepositories", "OCIRepository", namespaced=True)
KUSTOMIZATION = Resource(
    "kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization", namespaced=True
)
HELM_RELEASE = Resource(
    "helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease", namespaced=True
)
ALERT = Resource("notification.toolkit.fluxcd.io", "v1beta3", "alerts", "Alert", namespaced=True)
PROVIDER = Resource(
    "notification.toolkit.fluxcd.io", "v1beta3", "providers", "Provider", namespaced=True
)
RECEIVER = Resource(
    "notification.toolkit.fluxcd.io", "v1", "receivers", "Receiver", namespaced=True
)

CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
EVENT = Resource("", "v1", "events", "Event", namespaced=True)
NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
POD = Resource("", "v1", "pods", "Pod", namespaced=True)
SECRET = Resource("", "v1", "secrets", "Secret", namespaced=True)
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
CRD = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)
