"""From a commit to a large repository to the one set of objects that it concerns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.build import Binaries
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import ready_condition, wait_for
from gitservers.http import GitHttpServer
from gitservers.repos import Repo

_NAMESPACE = "default"


def _manifest(app: str, value: str) -> dict[str, str]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {app}}}\ndata: {{a: {value}}}\n"
    return {f"apps/{app}/app.yaml": text}


async def _apply(client: KubeClient, resource: Resource, name: str, spec: dict[str, Any]) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": spec,
    }
    await client.apply(resource, ObjectKey(_NAMESPACE, name), body, field_manager="test")


async def _get(client: KubeClient, resource: Resource, name: str) -> JsonObject:
    return await client.get(resource, ObjectKey(_NAMESPACE, name))


async def _applied(client: KubeClient, app: str, *, unlike: str = "") -> JsonObject:
    """The Kustomization of an app once it is Ready at a revision of its artifact."""

    def done(obj: JsonObject) -> bool:
        revision = (obj.get("status") or {}).get("lastAppliedRevision") or unlike
        is_ready: bool = ready_condition(obj).get("status") == "True"
        return is_ready and revision != unlike

    key = ObjectKey(_NAMESPACE, app)
    await wait_for(client, kinds.KUSTOMIZATION, key, until=done)
    return await client.get(kinds.KUSTOMIZATION, key)


@pytest.mark.slow
async def test_a_commit_wakes_only_what_it_touches(tmp_path: Path) -> None:
    await _a_commit_wakes_only_what_it_touches(tmp_path, dev.DevOptions())


@pytest.mark.slow
async def test_a_commit_wakes_only_what_it_touches_on_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    assert control_plane_binaries.version
    await _a_commit_wakes_only_what_it_touches(tmp_path, dev.DevOptions(control_plane="real"))


async def _a_commit_wakes_only_what_it_touches(tmp_path: Path, options: dev.DevOptions) -> None:
    repo = Repo(tmp_path / "repos", "mono.git")
    repo.commit({**_manifest("web", "one"), **_manifest("api", "one")})
    async with (
        GitHttpServer(tmp_path / "repos") as server,
        dev.dev_environment(options) as environment,
    ):
        client = environment.client
        url = f"{server.url}/mono.git"
        source = {"url": url, "interval": "1h", "ref": {"branch": "main"}}
        await _apply(client, kinds.GIT_REPOSITORY, "mono", source)
        copy = [{"from": "@repo/apps/{app}/**", "to": "@artifact/"}]
        generator = {
            "sources": [{"alias": "repo", "kind": "GitRepository", "name": "mono"}],
            "pathPattern": "@repo/apps/{app}",
            "artifacts": [{"name": "{app}", "originRevision": "@repo", "copy": copy}],
        }
        await _apply(client, kinds.ARTIFACT_GENERATOR, "apps", generator)
        for app in ("web", "api"):
            spec = {
                "interval": "1h",
                "prune": True,
                "targetNamespace": _NAMESPACE,
                "sourceRef": {"kind": "ExternalArtifact", "name": app},
            }
            await _apply(client, kinds.KUSTOMIZATION, app, spec)
        web = await _applied(client, "web")
        api = await _applied(client, "api")
        settings = await _get(client, kinds.CONFIG_MAP, "web")
        assert api["status"]["lastAppliedRevision"].startswith("latest@sha256:")

        head = repo.commit(_manifest("api", "two"))
        asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        key = ObjectKey(_NAMESPACE, "mono")
        await client.patch(kinds.GIT_REPOSITORY, key, asked, patch_type="merge", field_manager="t")
        api = await _applied(client, "api", unlike=api["status"]["lastAppliedRevision"])

        assert (await _get(client, kinds.CONFIG_MAP, "api"))["data"] == {"a": "two"}
        assert api["status"]["lastAppliedOriginRevision"] == f"main@sha1:{head}"
        assert await _get(client, kinds.KUSTOMIZATION, "web") == web, "nobody wrote to it"
        assert await _get(client, kinds.CONFIG_MAP, "web") == settings
