"""Lives of one chart whose objects the client applies: Helm's and ours, and what each has sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from faultproxy import FaultProxy
from fluvial.build.helm.model import RenderSpec
from fluvial.build.helm.renderer import HelmRenderer
from fluvial.helm.making import new_release
from fluvial.helm.options import ApplyOptions
from fluvial.helm.release import Release
from fluvial.kube.capabilities import CapabilitiesReader
from fluvial.kube.client import PatchType
from fluvial.kube.errors import AlreadyExists, NotFound
from fluvial.kube.kinds import CONFIG_MAP, CRD, SECRET
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from harness.charts import chart
from harness.helm import HelmSdk, helm_sdk
from integration.apply.apply_world import Spy, connect
from integration.helm.actions import Actions, actions
from integration.helm.helm_world import HelmWorld

__all__ = [
    "DEPLOYMENTS",
    "SERVICES",
    "WIDGETS",
    "Helms",
    "Lived",
    "Ours",
    "drift",
    "drift_beside",
    "widgets_served",
]

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
WIDGETS = Resource("clientside.example.com", "v1", "widgets", "Widget", namespaced=True)
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True)
_RESOURCES = (CONFIG_MAP, SECRET, SERVICES, ACCOUNTS, DEPLOYMENTS, WIDGETS, BUDGETS)
_WRITES = frozenset({"create", "update", "patch"})

_OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {helm.sh/hook: "pre-install,pre-upgrade,pre-rollback"}}
data: {revision: {{ .Release.Revision | quote }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {second: "{{ .Values.second }}"}}
data:
  greeting: hello
  revision: {{ .Release.Revision | quote }}
  {{- if not .Values.second }}
  old: "1"
  {{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: gone}
data: {a: "1"}
---
{{- if not .Values.second }}
apiVersion: v1
kind: ConfigMap
metadata: {name: stale}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}
---
{{- else }}
apiVersion: v1
kind: ConfigMap
metadata: {name: added}
---
{{- end }}
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: {{ .Values.second | quote }}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner}
imagePullSecrets: [{name: {{ .Values.second | ternary "b" "a" }}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: {{ .Values.second | ternary 2 1 }}, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: {{ .Values.second | ternary 8081 8080 }}}
  {{- if not .Values.second }}
  - {name: old, port: 81}
  {{- end }}
---
apiVersion: clientside.example.com/v1
kind: Widget
metadata: {name: widget}
spec:
  same: chart
  changing: {{ .Values.second | ternary "b" "a" }}
  list: [{name: a}, {name: {{ .Values.second | ternary "c" "b" }}}]
  {{- if not .Values.second }}
  old: {deep: true}
  {{- end }}
"""
_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  {{- if not .Values.second }}
  minReadySeconds: 3
  {{- end }}
  strategy:
    {{- if .Values.second }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxSurge: 2}
    {{- end }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      {{- if not .Values.second }}
      nodeSelector: {disk: ssd}
      {{- end }}
      tolerations: [{key: a, operator: Exists}]
      containers:
      - name: main
        image: example.com/main:{{ .Values.second | ternary 2 1 }}
        args: [{{ .Values.second | ternary "run, fast" "run" }}]
        env:
        - {name: A, value: "1"}
        - {name: {{ .Values.second | ternary "C" "B" }}, value: "2"}
        ports: [{containerPort: 80}, {containerPort: {{ .Values.second | ternary 82 81 }}}]
        volumeMounts: [{name: data, mountPath: /data}]
      - {name: {{ .Values.second | ternary "new" "old" }}, image: "example.com/other:1"}
      volumes:
      - name: data
        {{- if .Values.second }}
        configMap: {name: settings}
        {{- else }}
        emptyDir: {}
        {{- end }}
"""
CHART = chart(
    templates__objects=_OBJECTS,
    templates__web=_DEPLOYMENT,
    **{"values.yaml": "second: false\n"},
)
_DEFINITION: JsonObject = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.clientside.example.com"},
    "spec": {
        "group": "clientside.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@asynccontextmanager
async def widgets_served(world: HelmWorld) -> AsyncIterator[None]:
    """The kind of custom resources in the chart is served; it goes when the world does."""
    admin = world.world.admin
    with suppress(AlreadyExists):  # of the test before
        await admin.create(CRD, _DEFINITION, field_manager="test")
    while True:
        try:
            await admin.list_page(WIDGETS, namespace=world.namespace)
        except NotFound:
            await asyncio.sleep(0.05)
        else:
            break
    yield


def _gist(obj: JsonObject, helms: tuple[str, ...]) -> JsonObject:
    """An object without what each server process makes up, and with who owns its fields."""
    metadata = obj["metadata"]
    kept = {key: metadata.get(key) for key in ("name", "labels", "annotations", "finalizers")}
    body = {key: value for key, value in obj.items() if key not in {"metadata", "status"}}
    spec = dict(body.get("spec") or {})
    for name in ("clusterIP", "clusterIPs"):
        spec.pop(name, None)
    spec["ports"] = [
        {key: value for key, value in port.items() if key != "nodePort"}
        for port in spec.get("ports") or ()
    ]
    fields = sorted(
        (
            [entry["operation"], entry["fieldsV1"]]
            for entry in metadata.get("managedFields") or ()
            if entry["manager"].startswith(helms) and not entry.get("subresource")
        ),
        key=lambda pair: pair[0],
    )
    kept["annotations"] = {
        key: text
        for key, text in (kept["annotations"] or {}).items()
        if key != "deployment.kubernetes.io/revision"
    }
    return {**body, "spec": spec, "metadata": kept, "fields": fields}


@dataclass(frozen=True, slots=True)
class Lived:
    """What there is after an action, and what it has sent.

    Attributes:
        objects: by kind and name.
        sent: method, kind, name, media type and body of each request that writes an object.
        methods: how each revision says that it was applied.
        ports: the node ports of the Service.

    """

    objects: dict[str, JsonObject]
    sent: list[tuple[str, str, str, str, Any]]
    methods: list[str]
    ports: list[int]


@dataclass(slots=True)
class _Life:
    """What both lives have in common."""

    world: HelmWorld
    proxy: FaultProxy
    helms: tuple[str, ...]

    async def see(self, act: Callable[[], Awaitable[Any]]) -> Lived:
        """Do something, and tell what came of it."""
        before = self.proxy.position
        await act()
        sent = sorted(self._sent(before), key=lambda one: one[:4])
        history = await self.world.storage.history("app")
        service = await self._live(SERVICES, "web")
        ports = [port["nodePort"] for port in service["spec"]["ports"]]
        return Lived(await self._objects(), sent, [one.apply_method for one in history], ports)

    async def _live(self, resource: Resource, name: str) -> JsonObject:
        return await self.world.world.admin.get(resource, self.world.world.key(name))

    def _sent(self, after: int) -> list[tuple[str, str, str, str, Any]]:
        found = []
        for asked in self.proxy.requests(after=after):
            content, body = self.proxy.bodies.get(asked.seq, ("", b"{}"))
            if asked.verb not in _WRITES or "json" not in content or "json-patch" in content:
                continue  # records are in another form, and those patches are of managers
            decoded = orjson.loads(body)
            name = asked.name or (decoded.get("metadata") or {}).get("name", "")
            is_record = name.startswith("sh.helm.release.")
            if is_record:
                continue
            if asked.method == "PUT":
                assert decoded["metadata"].pop("resourceVersion")
            found.append((asked.method, asked.resource, name, content, decoded))
        return found

    async def _objects(self) -> dict[str, JsonObject]:
        found: dict[str, JsonObject] = {}
        for resource in _RESOURCES:
            page = await self.world.world.admin.list_all(resource, namespace=self.world.namespace)
            found |= {
                f"{resource.kind}/{obj['metadata']['name']}": _gist(obj, self.helms)
                for obj in page.items
                if obj.get("type") != "helm.sh/release.v1"
                and obj["metadata"]["name"] not in {"kube-root-ca.crt", "default", "tenant"}
            }
        return found

    async def end(self) -> None:
        """Leave nothing behind but the namespace."""
        for resource in _RESOURCES:
            page = await self.world.world.admin.list_all(resource, namespace=self.world.namespace)
            for obj in page.items:
                name = obj["metadata"]["name"]
                if name not in {"kube-root-ca.crt", "default", "tenant"}:
                    await self.world.world.admin.delete(resource, self.world.world.key(name))


class Helms(_Life):
    """Helm's own."""

    @asynccontextmanager
    async def begin(self, folder: Path) -> AsyncIterator[None]:
        """Start the engine; its clients go through the proxy."""
        (folder / "app.tgz").write_bytes(CHART)
        kubeconfig = self.proxy.kubeconfig()
        async with helm_sdk(kubeconfig, self.world.namespace, folder) as sdk:
            self.sdk: HelmSdk = sdk
            self.chart = str(folder / "app.tgz")
            yield

    async def install(self, options: ApplyOptions) -> Lived:
        """Install."""
        also = {"server_side_apply": options.server_side != "disabled"}
        return await self.see(
            lambda: self.sdk.do("install", chart=self.chart, name="app", also=also)
        )

    async def upgrade(self, values: Mapping[str, Any], options: ApplyOptions) -> Lived:
        """Upgrade."""
        return await self.see(
            lambda: self.sdk.do(
                "upgrade", chart=self.chart, name="app", values=values, also=_also(options)
            )
        )

    async def roll_back(self, version: int, options: ApplyOptions) -> Lived:
        """Roll back."""
        return await self.see(
            lambda: self.sdk.do("rollback", name="app", version=version, also=_also(options))
        )


def _also(options: ApplyOptions) -> dict[str, Any]:
    modes = {"auto": "auto", "enabled": "true", "disabled": "false"}
    also: dict[str, Any] = {"server_side_apply": modes[options.server_side]}
    return also | ({"force_replace": True} if options.force else {})


class Ours(_Life):
    """Ours."""

    @asynccontextmanager
    async def begin(self, renderer: HelmRenderer) -> AsyncIterator[None]:
        """Take the tenant through the proxy."""
        token = self.world.kubeconfig["users"][0]["user"]["token"]
        user = f"system:serviceaccount:{self.world.namespace}:tenant"
        direct = self.world.world.spy
        async with connect(self.proxy.url, self.proxy.ca_pem, token) as admin:
            self.world.world.spy = Spy(admin.impersonate(user))
            async with actions(self.world) as act:
                self.act: Actions = act
                self.renderer = renderer
                yield
        self.world.world.spy = direct

    async def install(self, options: ApplyOptions) -> Lived:
        """Install."""

        async def act() -> None:
            release = await self._made({}, options.by_server(None), version=1, before=None)
            await self.act.lifecycle.install(release, options)

        return await self.see(act)

    async def upgrade(self, values: Mapping[str, Any], options: ApplyOptions) -> Lived:
        """Upgrade."""

        async def act() -> None:
            current = await self.act.lifecycle.current("app")
            last = await self.world.storage.last("app")
            by_server, version = options.by_server(last), last.version + 1
            release = await self._made(values, by_server, version=version, before=current)
            await self.act.lifecycle.upgrade(release, current=current, options=options)

        return await self.see(act)

    async def roll_back(self, version: int, options: ApplyOptions) -> Lived:
        """Roll back."""
        return await self.see(lambda: self.act.lifecycle.roll_back("app", version, options))

    async def _made(
        self,
        values: Mapping[str, Any],
        by_server: bool,  # noqa: FBT001 - passed on
        *,
        version: int,
        before: Release | None,
    ) -> Release:
        namespace = self.world.namespace
        capabilities = await CapabilitiesReader(self.world.world.admin).current()
        spec = RenderSpec(
            "app", namespace, capabilities, revision=version, is_upgrade=before is not None
        )
        rendered = await self.renderer.render(
            CHART, dict(values), spec, timeout=30, trust_domain=namespace
        )
        return await new_release(
            rendered,
            name="app",
            namespace=namespace,
            version=version,
            now=self.act.target.clock.now(),
            before=before,
            server_side=by_server,
        )


async def _change(
    world: HelmWorld, resource: Resource, name: str, patch: JsonObject, type_: PatchType = "merge"
) -> None:
    await world.world.admin.patch(
        resource,
        world.world.key(name),
        patch,
        patch_type=type_,
        field_manager="kubectl-edit",
    )


async def drift_beside(world: HelmWorld) -> None:
    """What others add to objects of a release, touching nothing of it."""
    pods = {"containers": [{"name": "proxy", "image": "example.com/proxy:1"}]}
    spec = {"progressDeadlineSeconds": 77, "template": {"spec": pods}}
    await _change(world, DEPLOYMENTS, "web", {"spec": spec}, "strategic")
    await _change(world, CONFIG_MAP, "settings", {"data": {"foreign": "stays"}})
    await _change(world, WIDGETS, "widget", {"spec": {"foreign": 1}})


async def drift(world: HelmWorld) -> None:
    """What people and other controllers do to objects of a release."""
    pods = {
        "containers": [
            {"name": "proxy", "image": "example.com/proxy:1"},
            {"name": "main", "image": "example.com/main:drift", "tty": True},
        ],
        "volumes": [{"name": "injected", "emptyDir": {}}],
    }
    spec = {"replicas": 5, "progressDeadlineSeconds": 77, "template": {"spec": pods}}
    await _change(world, DEPLOYMENTS, "web", {"spec": spec}, "strategic")
    data = {"greeting": "drift", "foreign": "stays"}
    labelled = {"data": data, "metadata": {"labels": {"who": "me"}}}
    await _change(world, CONFIG_MAP, "settings", labelled)
    await _change(world, SERVICES, "web", {"spec": {"sessionAffinity": "ClientIP"}})
    secrets = {"imagePullSecrets": [{"name": "a"}, {"name": "mine"}]}
    await _change(world, ACCOUNTS, "runner", secrets)
    of_widget = {"same": "drift", "foreign": 1, "list": []}
    await _change(world, WIDGETS, "widget", {"spec": of_widget})
    await world.world.admin.delete(CONFIG_MAP, world.world.key("gone"))
