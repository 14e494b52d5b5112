"""The real API server takes the CRDs without a warning and enforces what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from controlplane.start import ControlPlane
from fluvial.api import crd

pytestmark = pytest.mark.real

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_GIT = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/gitrepositories"
_KUSTOMIZE = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations"
_BUCKETS = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/buckets"
_LDAP = {"provider": "ldap", "endpoint": "https://x"}
_AWS = {"provider": "aws", "endpoint": "https://x"}
_REF = {"name": "x"}
_SOURCE_REF = {"kind": "GitRepository", "name": "a"}


class _Server:
    def __init__(self, plane: ControlPlane, session: aiohttp.ClientSession) -> None:
        self._plane, self._session = plane, session

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any], list[str]]:
        """Status, body and warnings."""
        async with self._session.request(
            method, f"{self._plane.url}{path}", json=body, ssl=self._plane.ssl_context()
        ) as answer:
            return answer.status, await answer.json(), answer.headers.getall("Warning", [])


@pytest.fixture
async def server(real_control_plane: ControlPlane) -> AsyncIterator[_Server]:
    headers = {"Authorization": f"Bearer {real_control_plane.admin_token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield _Server(real_control_plane, session)


async def _installed(server: _Server) -> None:
    for kind in crd.KINDS:
        status, body, warnings = await server.ask("POST", _CRDS, crd.crd(kind))
        assert (status, warnings) in ((201, []), (409, [])), body
        conditions: dict[str, Any] = {}
        for _ in range(200):
            _, body, _ = await server.ask("GET", f"{_CRDS}/{kind.name}")
            conditions = {c["type"]: c for c in body["status"].get("conditions") or ()}
            if conditions.get("Established", {}).get("status") == "True":
                break
        assert conditions["Established"]["status"] == "True"
        assert conditions["NamesAccepted"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    group = "kustomize" if kind == "Kustomization" else "source"
    return {
        "apiVersion": f"{group}.toolkit.fluxcd.io/v1",
        "kind": kind,
        "metadata": {"generateName": "test-", "namespace": "default"},
        "spec": spec,
    }


async def test_definitions_are_established_without_a_warning(server: _Server) -> None:
    await _installed(server)


async def test_defaults_are_filled_in(server: _Server) -> None:
    await _installed(server)

    spec = {"url": "https://x", "interval": "1m", "verify": {"secretRef": {"name": "k"}}}
    status, body, warnings = await server.ask("POST", _GIT, _object("GitRepository", spec))

    assert (status, warnings) == (201, [])
    assert body["status"] == {"observedGeneration": -1}
    assert body["spec"]["timeout"] == "60s"
    assert body["spec"]["verify"]["mode"] == "HEAD"
    minimal: dict[str, Any] = {"interval": "1m", "prune": True, "sourceRef": _SOURCE_REF}
    status, body, warnings = await server.ask("POST", _KUSTOMIZE, _object("Kustomization", minimal))
    assert (status, warnings) == (201, [])
    assert body["status"] == {"observedGeneration": -1}
    assert body["spec"] == minimal | {"force": False}


@pytest.mark.parametrize(
    ("kind", "extra", "field"),
    [
        ("GitRepository", {"url": "git@github.com:a/b"}, "spec.url"),
        ("GitRepository", {"interval": "1"}, "spec.interval"),
        ("GitRepository", {"timeout": "1h"}, "spec.timeout"),
        ("GitRepository", {"provider": "gitlab"}, "spec.provider"),
        ("GitRepository", {"serviceAccountName": "x"}, "spec"),
        ("GitRepository", {"serviceAccountName": "x", "provider": "github"}, "spec"),
        ("GitRepository", {"verify": {"mode": "HEAD"}}, "spec.verify.secretRef"),
        ("Kustomization", {"namePrefix": ""}, "spec.namePrefix"),
        ("Kustomization", {"targetNamespace": "x" * 64}, "spec.targetNamespace"),
        ("Kustomization", {"deletionPolicy": "Keep"}, "spec.deletionPolicy"),
        ("Kustomization", {"kubeConfig": {}}, "spec.kubeConfig"),
        (
            "Kustomization",
            {"kubeConfig": {"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}},
            "spec.kubeConfig",
        ),
        ("Kustomization", {"sourceRef": {"kind": "HelmChart", "name": "a"}}, "spec.sourceRef.kind"),
        ("Bucket", {"provider": "minio"}, "spec.provider"),
        ("Bucket", {"provider": "gcp", "sts": _AWS}, "spec"),
        ("Bucket", {"provider": "azure", "sts": _LDAP}, "spec"),
        ("Bucket", {"provider": "aws", "sts": _LDAP}, "spec"),
        ("Bucket", {"sts": _AWS}, "spec"),
        ("Bucket", {"provider": "aws", "sts": _AWS | {"secretRef": _REF}}, "spec"),
        ("Bucket", {"provider": "aws", "sts": _AWS | {"certSecretRef": _REF}}, "spec"),
        ("Bucket", {"sts": _LDAP | {"endpoint": "x"}}, "spec.sts.endpoint"),
        ("Bucket", {"serviceAccountName": "x"}, "spec"),
        ("Bucket", {"provider": "aws", "serviceAccountName": "x", "secretRef": _REF}, "spec"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused(
    server: _Server, kind: str, extra: dict[str, Any], field: str
) -> None:
    await _installed(server)
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "GitRepository": (_GIT, {"url": "https://x", "interval": "1m"}),
        "Kustomization": (_KUSTOMIZE, {"interval": "1m", "prune": True, "sourceRef": _SOURCE_REF}),
        "Bucket": (_BUCKETS, {"bucketName": "b", "endpoint": "x", "interval": "1m"}),
    }
    path, spec = specs[kind]

    status, body, _ = await server.ask("POST", path, _object(kind, spec | extra))

    assert status == 422
    assert body["details"]["causes"][0]["field"] == field


@pytest.mark.parametrize(
    "extra",
    [
        {"serviceAccountName": "x", "provider": "aws"},
        {"serviceAccountName": "x", "provider": "azure"},
    ],
    ids=["aws", "azure"],
)
async def test_a_service_account_goes_with_its_providers(
    server: _Server, extra: dict[str, Any]
) -> None:
    await _installed(server)

    spec = {"url": "https://x", "interval": "1m"} | extra
    status, _, _ = await server.ask("POST", _GIT, _object("GitRepository", spec))

    assert status == 201
