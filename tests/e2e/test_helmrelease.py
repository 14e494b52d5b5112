"""From a repository and a registry of charts to releases, by the processes as users run them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.build import Binaries
from fluvial.kube import kinds
from fluvial.kube.kinds import HELM_CHART, HELM_REPOSITORY, OCI_REPOSITORY
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from fluvial_cli import dev
from fluvial_cli.processes import Program
from harness.helm import need_helm
from harness.helmcharts import chart, chart_image, packed, publish
from harness.release import install_definitions
from harness.team import BINDINGS, Team, condition, named, newest
from harness.webserver import FileHost
from registries.fake import FakeRegistry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {v: {{ .Values.v | quote }}, version: {{ .Chart.Version | quote }}}
"""
_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def _chart(version: str) -> bytes:
    return packed(chart(version=version, files={"templates/map.yaml": _MAP}))


@asynccontextmanager
async def _controllers(folder: Path, control_plane: str) -> AsyncIterator[Team]:
    """source-controller and helm-controller, and a namespace with an account."""
    need_helm()
    options = dev.DevOptions(control_plane=control_plane, controllers=("source-controller",))
    async with dev.dev_environment(options) as environment:
        client = environment.client
        await install_definitions(client)
        argv = [
            *(sys.executable, "-m", "helm_controller"),
            f"--kubeconfig={environment.kubeconfig}",
            *("--health-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0"),
            "--allow-outbound=127.0.0.0/8",
        ]
        log = environment.folder / "logs" / "helm-controller.log"
        program = Program("helm-controller", argv, log)
        await environment.processes.start(program, is_ready=dev.says_ready)
        team = Team(client, "team", folder, "")
        await team.apply(kinds.NAMESPACE, named("v1", "Namespace", "team"))
        await team.apply(kinds.SERVICE_ACCOUNT, named("v1", "ServiceAccount", "deployer", "team"))
        rbac = "rbac.authorization.k8s.io"
        binding = named(f"{rbac}/v1", "RoleBinding", "deployer", "team") | {
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "team"}],
        }
        await team.apply(BINDINGS, binding)
        yield team


async def test_charts_become_releases(tmp_path: Path) -> None:
    await _charts_become_releases(tmp_path, "devcluster")


async def test_charts_become_releases_on_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    assert control_plane_binaries.version
    await _charts_become_releases(tmp_path, "real")


async def _charts_become_releases(folder: Path, control_plane: str) -> None:
    (folder / "charts").mkdir()
    publish(folder / "charts", _chart("1.0.0"))
    async with (
        FileHost(folder / "charts") as host,
        FakeRegistry() as registry,
        _controllers(folder, control_plane) as team,
    ):
        pushed = registry.put("charts/app", "1.0.0", chart_image(_chart("1.0.0")))
        selector = {"mediaType": _LAYER, "operation": "copy"}
        await _source(
            team,
            OCI_REPOSITORY,
            url=f"{registry.oci}/charts/app",
            insecure=True,
            ref={"semver": "*"},
            layerSelector=selector,
        )
        await _source(team, HELM_REPOSITORY, url=host.url)
        template = {"chart": "app", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}
        await team.release("indexed", chartRef=None, chart={"spec": template}, values={"v": "two"})
        await team.release("pushed", chartRef={"kind": "OCIRepository", "name": "charts"})

        done = await team.ready("indexed", version=1)
        assert done["status"]["helmChart"] == "team/team-indexed"
        assert await _data(team, "indexed") == {"v": "two", "version": "1.0.0"}
        done = await team.ready("pushed", version=1)
        assert newest(done)["ociDigest"] == pushed.digest
        version = f"1.0.0+{pushed.digest.partition(':')[2][:12]}"
        assert await _data(team, "pushed") == {"v": "one", "version": version}

        # A new version in each place, and a request to look.
        publish(folder / "charts", _chart("1.0.0"), _chart("1.1.0"))
        registry.put("charts/app", "1.1.0", chart_image(_chart("1.1.0")))
        for resource in (HELM_REPOSITORY, OCI_REPOSITORY):
            asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
            await team.patch("charts", asked, resource=resource)
        for name in ("indexed", "pushed"):
            done = await team.ready(name, version=2)
            assert condition(done, "Released")["reason"] == "UpgradeSucceeded"
            assert (await _data(team, name))["version"].startswith("1.1.0")

        for name in ("indexed", "pushed"):
            await team.delete(name)
            await team.gone(name)
            assert await team.statuses(name) == {}
        assert await team.names(kinds.CONFIG_MAP) == set()
        await team.gone("team-indexed", HELM_CHART)


async def _source(team: Team, resource: Resource, **spec: object) -> None:
    obj: JsonObject = named(resource.api_version, resource.kind, "charts", team.namespace)
    await team.apply(resource, obj | {"spec": {"interval": "1h", **spec}})


async def _data(team: Team, name: str) -> dict[str, str]:
    found: dict[str, str] = (await team.get(kinds.CONFIG_MAP, name))["data"]
    return found
