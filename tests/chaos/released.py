"""A HelmRelease whose controller is killed: where it lives, what happens to it, what must be true."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from chaos.cases import GitSide
from chaos.control import ControlClient, Holds, ProxyHolds
from chaos.world import World, control_url
from faultproxy import FaultProxy
from fluvial.artifact.server import FileServer
from fluvial.helm.release import Status
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.processes import Program
from harness.charts import chart
from harness.release import install_definitions
from harness.rights import until_allowed
from harness.team import Team, condition, named, newest

__all__ = ["CONTROLLER", "Ended", "ReleaseCase", "release_world"]

CONTROLLER: Final = "helm-controller"
_MAP: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n"
# No Job: the real control plane takes a second or more to see that one has ended.
_HOOK: Final = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {{helm.sh/hook: "{events}", {more}}}
  labels: {{{labels}}}
spec: {{restartPolicy: Never, containers: [{{name: c, image: example.com/c:1}}]}}
"""
# As the stand-ins for kubelets know it: that of devcluster, and the real control plane's.
_FAILS: Final = {
    "more": "devcluster.fluvial.dev/health: fail",
    "labels": 'fluvial.dev/fail: "1"',
}


@asynccontextmanager
async def release_world(folder: Path, plane: JsonObject | None = None) -> AsyncIterator[World]:
    """helm-controller as a process whose writes can be held, and a server of charts.

    Args:
        folder: for everything.
        plane: an admin's kubeconfig of the control plane, which has a fault proxy put in front of
            it; without one there is a devcluster.

    """
    async with AsyncExitStack() as stack:
        environment, client, control = await _cluster(stack, folder, plane)
        await install_definitions(client)
        storage = folder / "storage"
        storage.mkdir()
        server = FileServer(storage, log=get_logger("test"), algorithm="sha256")
        host, port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop)
        world = World(
            client=client,
            git=GitSide.create(folder / "git", f"http://{host}:{port}"),
            storage=storage,
            environment=environment,
            control=control,
        )
        await world.let_tenants_do_everything()
        argv = [
            *(sys.executable, "-m", "helm_controller"),
            f"--kubeconfig={environment.kubeconfig}",
            *("--health-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0"),
            "--allow-outbound=127.0.0.0/8",
        ]
        log = environment.folder / "logs" / f"{CONTROLLER}.log"
        # Who is killed leaves its temporary folder behind.
        (folder / "tmp").mkdir()
        program = Program(CONTROLLER, argv, log, {"TMPDIR": str(folder / "tmp")})
        await environment.processes.start(program, is_ready=dev.says_ready)
        yield world


async def _cluster(
    stack: AsyncExitStack, folder: Path, plane: JsonObject | None
) -> tuple[dev.Environment, KubeClient, Holds]:
    """Where the controller is, whose kubeconfig is its way; the admin's own way; the holds."""
    if plane is None:
        options = dev.DevOptions(folder=folder / "dev", control=True, controllers=())
        environment = await stack.enter_async_context(dev.dev_environment(options))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        return environment, environment.client, ControlClient(session, control_url(environment))
    proxy = await stack.enter_async_context(FaultProxy(plane))
    direct, through = folder / "direct", folder / "through"
    for file, content in ((direct, plane), (through, proxy.kubeconfig())):
        file.touch(mode=0o600)
        file.write_bytes(orjson.dumps(content))
    options = dev.DevOptions(folder=folder / "dev", control_plane=str(through), controllers=())
    environment = await stack.enter_async_context(dev.dev_environment(options))
    client = await stack.enter_async_context(
        await config.load_client(kubeconfig=direct, user_agent="test")
    )
    return environment, client, ProxyHolds(proxy)


def charts() -> dict[str, bytes]:
    """Two versions, and a third whose upgrade fails in a hook after its objects are written."""
    hooks = "pre-install,pre-upgrade"
    works = {"more": "", "labels": ""}
    same = {
        "templates__before": _HOOK.format(name="before", events=hooks, **works),
        "templates__check": _HOOK.format(name="check", events="test", **works),
    }
    fails = _HOOK.format(name="after", events="post-upgrade", **_FAILS)
    maps = {
        "1.0.0": {"a": "one", "gone": "x"},
        "2.0.0": {"a": "two", "new": "x"},
        "3.0.0": {"a": "three"},
    }
    return {
        version: chart(
            version=version,
            **same,
            **({"templates__after": fails} if version == "3.0.0" else {}),
            **{
                f"templates__{name}": _MAP.format(name=name, value=value)
                for name, value in found.items()
            },
        )
        for version, found in maps.items()
    }


@dataclass(frozen=True, slots=True)
class Ended:
    """What there is at the end of a phase, but for how many revisions it took.

    Attributes:
        data: of the ConfigMaps, by name.
        deployed: version of the chart that is deployed, ``""`` if none is.
        conditions: type and status, without those of a remedy.
        inventory: ids.

    """

    data: dict[str, JsonObject] = field(default_factory=dict)
    deployed: str = ""
    conditions: frozenset[str] = frozenset()
    inventory: frozenset[str] = frozenset()


@dataclass(slots=True)
class ReleaseCase:
    """One namespace with one HelmRelease."""

    world: World
    name: str
    team: Team
    archives: dict[str, bytes]

    @classmethod
    async def make(cls, world: World) -> ReleaseCase:
        """A namespace with an account, and a chart that no source-controller looks after."""
        name = await world.new_case()
        await until_allowed(
            world.client.impersonate(f"system:serviceaccount:{name}:deployer"), name
        )
        suspended = {
            "chart": "app",
            "interval": "1h",
            "sourceRef": {"kind": "HelmRepository", "name": "charts"},
            "suspend": True,
        }
        obj = named(kinds.HELM_CHART.api_version, kinds.HELM_CHART.kind, "chart", name)
        await world.client.apply(
            kinds.HELM_CHART,
            ObjectKey(name, "chart"),
            obj | {"spec": suspended},
            field_manager="suspended",
        )
        address = world.git.url.rpartition("/")[0]
        return cls(world, name, Team(world.client, name, world.storage, address), charts())

    # --- what happens to it ----------------------------------------------------------------------

    async def install(self) -> None:
        """A first release."""
        await self.team.chart(self.archives["1.0.0"], "1.0.0", resource=kinds.HELM_CHART)
        await self.team.release(
            chartRef={"kind": "HelmChart", "name": "chart"},
            test={"enable": True},
            upgrade={"remediation": {"retries": 0, "remediateLastFailure": True}},
        )

    async def upgrade(self) -> None:
        """Another version of the chart."""
        await self.team.chart(self.archives["2.0.0"], "2.0.0", resource=kinds.HELM_CHART)

    async def upgrade_badly(self) -> None:
        """A version that fails, and is rolled back."""
        await self.team.chart(self.archives["3.0.0"], "3.0.0", resource=kinds.HELM_CHART)

    async def uninstall(self) -> None:
        """The end."""
        await self.team.delete()

    # --- what must come of it --------------------------------------------------------------------

    async def is_installed(self) -> bool:
        """Ready with the first version."""
        return await self._is_ready("1.0.0")

    async def is_upgraded(self) -> bool:
        """Ready with the second."""
        return await self._is_ready("2.0.0")

    async def is_rolled_back(self) -> bool:
        """Given up, with the second version in place again."""
        obj = await self._object()
        return (
            condition(obj, "Stalled").get("reason") == "RetriesExceeded"
            and not condition(obj, "Reconciling")
            and newest(obj).get("action") == "rollback"
            and obj["status"].get("lastAttemptedRevision") == "3.0.0"
        )

    async def is_gone(self) -> bool:
        """No object any more."""
        return not await self._object()

    async def _is_ready(self, version: str) -> bool:
        obj = await self._object()
        return (
            condition(obj).get("status") == "True"
            and not condition(obj, "Reconciling")
            and newest(obj).get("chartVersion") == version
        )

    async def _object(self) -> JsonObject:
        try:
            return await self.world.client.get(kinds.HELM_RELEASE, ObjectKey(self.name, "app"))
        except NotFound:
            return {}

    async def look(self) -> Ended:
        """What there is."""
        page = await self.world.client.list_all(kinds.CONFIG_MAP, namespace=self.name)
        ours = [one for one in page.items if _is_released(one)]
        obj = await self._object()
        status = obj.get("status") or {}
        history = await self.team.records.history("app")
        deployed = [one for one in history if one.status is Status.DEPLOYED]
        entries = (status.get("inventory") or {}).get("entries") or ()
        return Ended(
            data={one["metadata"]["name"]: one.get("data") or {} for one in ours},
            deployed=deployed[-1].metadata.version if deployed else "",
            conditions=frozenset(
                f"{one['type']} {one['status']}" for one in status.get("conditions") or ()
            ),
            inventory=frozenset(one["id"].replace(self.name, "CASE") for one in entries),
        )

    async def problems(self) -> list[str]:
        """What must never be of the records, whatever happened."""
        statuses = await self.team.statuses()
        found = [f"pending: {statuses}" for one in statuses.values() if one.startswith("pending")]
        if list(statuses.values()).count("deployed") > 1:
            found.append(f"two are deployed: {statuses}")
        if statuses and list(statuses.values())[-1] != "deployed":
            found.append(f"the last is not deployed: {statuses}")
        return found

    async def hooks_run(self) -> int:
        """How often a hook was made, but for tests: those may be run again until status has them."""
        asked = await self.world.control.requests(agent=f"^{CONTROLLER}/")
        path = re.compile(rf"/namespaces/{self.name}/pods/(before|after)$")
        makes = {"POST", "PATCH"}
        return sum(bool(path.search(one["path"])) and one["method"] in makes for one in asked)


def _is_released(obj: JsonObject) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return "helm.toolkit.fluxcd.io/name" in labels
