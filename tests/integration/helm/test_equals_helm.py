"""One chart's life, lived by Helm's own tool and by us: the same objects, marks, fields and records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.build.helm.model import RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.helm import options
from fluvial.helm.making import new_release
from fluvial.helm.manifest import split
from fluvial.helm.release import Release
from fluvial.kube.capabilities import CapabilitiesReader
from fluvial.kube.kinds import CONFIG_MAP, SECRET
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from harness.charts import chart
from harness.helm import need_helm
from integration.helm.actions import JOBS, QUICK, Actions, actions
from integration.helm.helm_world import HelmWorld

pytestmark = pytest.mark.slow

_RESOURCES = (
    CONFIG_MAP,
    SECRET,
    JOBS,
    Resource("", "v1", "services", "Service", namespaced=True),
    Resource("apps", "v1", "deployments", "Deployment", namespaced=True),
)
_OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {by: {{ .Release.Service }}}}
data: {greeting: {{ .Values.greeting | quote }}, revision: {{ .Release.Revision | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: {{ .Values.greeting | quote }}}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra, annotations: {helm.sh/resource-policy: {{ .Values.policy }}}}
{{- end }}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example.com/c:1, ports: [{containerPort: 80}]}]}
"""
_HOOKS = """
apiVersion: batch/v1
kind: Job
metadata:
  name: prepare
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "3"}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.com/c:1}]}}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: passing
  annotations: {helm.sh/hook: "pre-install,pre-rollback", helm.sh/hook-delete-policy: hook-succeeded}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: note, annotations: {helm.sh/hook: "post-install,post-upgrade,post-delete"}}
data: {revision: {{ .Release.Revision | quote }}}
"""
_CHART = chart(
    templates__objects=_OBJECTS,
    templates__hooks=_HOOKS,
    **{"values.yaml": "greeting: hi\nreplicas: 1\nextra: true\npolicy: none\n"},
)
_CHANGED = {"greeting": "bye", "replicas": 2, "extra": False}
_HELMS = ("helm", "python")


def _gist(obj: JsonObject) -> JsonObject:
    """What both must have made alike."""
    metadata = obj["metadata"]
    fields = [
        [entry["operation"], entry["fieldsV1"]]
        for entry in metadata.get("managedFields") or []
        if entry["manager"].startswith(_HELMS)
    ]
    kept = {key: metadata.get(key) for key in ("name", "labels", "annotations")}
    body = {key: obj.get(key) for key in ("kind", "data", "type")}
    if obj["kind"] == "Job":
        kept.pop("labels")
    if obj["kind"] == "Deployment":
        body["spec"] = obj["spec"]
    return {**body, "metadata": kept, "fields": fields}


async def _objects(act: Actions) -> dict[str, JsonObject]:
    found: dict[str, JsonObject] = {}
    for resource in _RESOURCES:
        page = await act.world.world.admin.list_all(resource, namespace=act.world.namespace)
        found |= {
            f"{obj['kind']}/{obj['metadata']['name']}": _gist(obj)
            for obj in page.items
            if obj.get("type") != "helm.sh/release.v1"
            and obj["metadata"]["name"] != "kube-root-ca.crt"
        }
    return found


def _record(release: Release) -> dict[str, Any]:
    """A record without its times."""
    runs = [(hook.name, hook.events, hook.last_run.phase) for hook in release.hooks]
    return {
        "version": release.version,
        "status": release.info.status,
        "description": release.info.description,
        "metadata": release.metadata,
        "chart": orjson.loads(bytes(release.chart)),
        "config": release.config,
        # Releases of Helm 4 differ in whether they keep white space at the end of a document.
        "manifest": [one.rstrip() for one in split(release.manifest)],
        "hooks": runs,
        "method": release.apply_method,
        "namespace": release.namespace,
    }


async def _seen(act: Actions) -> tuple[dict[str, JsonObject], list[dict[str, Any]]]:
    history = await act.world.storage.history("app")
    return await _objects(act), [_record(one) for one in history]


async def _helms_life(act: Actions, folder: Path) -> AsyncIterator[Any]:
    archive = folder / "app.tgz"
    archive.write_bytes(_CHART)
    wait: dict[str, Any] = {"wait": "watcher", "timeout": 30}
    async with act.world.helm(folder) as helm:
        await helm.do("install", chart=str(archive), name="app", **wait)
        yield await _seen(act)
        await helm.do("upgrade", chart=str(archive), name="app", values=_CHANGED, **wait)
        yield await _seen(act)
        await helm.do("rollback", name="app", version=1, **wait)
        yield await _seen(act)
        await helm.do("uninstall", name="app", keep_history=True, **wait)
        yield await _seen(act)
        await helm.do("uninstall", name="app")
        yield await _seen(act)


async def _our_life(act: Actions) -> AsyncIterator[Any]:
    async with engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool:
        renderer = HelmRenderer(pool)

        async def made(values: dict[str, Any], before: Release | None) -> Release:
            version = await act.lifecycle.next_version("app")
            capabilities = await CapabilitiesReader(act.world.world.admin).current()
            spec = RenderSpec(
                "app",
                act.world.namespace,
                capabilities,
                revision=version,
                is_upgrade=before is not None,
            )
            rendered = await renderer.render(
                _CHART, values, spec, timeout=30, trust_domain=act.world.namespace
            )
            return await new_release(
                rendered,
                name="app",
                namespace=act.world.namespace,
                version=version,
                now=act.target.clock.now(),
                before=before,
            )

        await act.lifecycle.install(await made({}, None), QUICK)
        yield await _seen(act)
        current = await act.lifecycle.current("app")
        release = await made(_CHANGED, current)
        await act.lifecycle.upgrade(release, current=current, options=QUICK)
        yield await _seen(act)
        await act.lifecycle.roll_back("app", 1, QUICK)
        yield await _seen(act)
        await act.ending.uninstall("app", options.UninstallOptions(keep_history=True))
        yield await _seen(act)
        await act.ending.uninstall("app", options.UninstallOptions())
        yield await _seen(act)


async def test_a_life_is_that_of_helm(world: HelmWorld, tmp_path: Path) -> None:
    need_helm()
    async with actions(world) as act:
        theirs = [seen async for seen in _helms_life(act, tmp_path)]
        for resource in _RESOURCES:
            for name in await act.world.world.names(resource):
                await act.world.world.admin.delete(resource, act.world.world.key(name))
        ours = [seen async for seen in _our_life(act)]

    for (objects, records), (their_objects, their_records) in zip(ours, theirs, strict=True):
        assert records == their_records
        assert objects == their_objects
    assert len(ours) == 5
