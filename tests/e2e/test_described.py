"""A cluster that a ConfigMap describes, on the real control plane, which checks the tokens itself."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.described import description
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

_ISSUER = "https://kubernetes.default.svc.cluster.local"


async def test_a_token_opens_the_server_that_it_is_for(on_real: Harness, tmp_path: Path) -> None:
    """This very cluster by its address; a token for the address alone is not for this server."""
    await on_real.tenant(account="remote")
    kubeconfig: JsonObject = orjson.loads((tmp_path / "kubeconfig").read_bytes())
    cluster = kubeconfig["clusters"][0]["cluster"]
    data = {
        "provider": "generic",
        "address": cluster["server"],
        "ca": base64.b64decode(cluster["certificate-authority-data"]).decode(),
        "account": "remote",
    }
    await on_real.apply(description("team", **data), CONFIG_MAPS)
    revision = await on_real.source({"a.yaml": configmap()})
    reference = {"configMapRef": {"name": "remote"}}
    await on_real.kustomization(kubeConfig=reference, serviceAccountName=None)
    failed = await on_real.failed("ReconciliationFailed")
    assert "Unauthorized" in ready_of(failed)["message"]
    assert not await on_real.exists(CONFIG_MAPS, "settings")

    await on_real.apply(description("team", audiences=_ISSUER, **data), CONFIG_MAPS)
    await on_real.applied(revision)
    made = await on_real.get(CONFIG_MAPS, "settings")
    managers = {entry["manager"] for entry in made["metadata"]["managedFields"]}
    assert managers == {"kustomize-controller"}
    await on_real.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await on_real.gone(kinds.KUSTOMIZATION, "app")
    assert not await on_real.exists(CONFIG_MAPS, "settings")
