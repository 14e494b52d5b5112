"""What tests of releases act on: a namespace, its tenant, its records, and Helm's own engine."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from fluvial.helm.release import ChartMetadata, Info, Release
from fluvial.helm.storage import ReleaseStorage
from fluvial.kube.kinds import SECRET
from fluvial.objects import JsonObject
from harness.helm import HelmSdk, helm_sdk
from integration.apply.apply_world import World

__all__ = ["ON_DEVCLUSTER", "HelmWorld", "release", "small_chart"]

ON_DEVCLUSTER = pytest.mark.parametrize("world", ["devcluster"], indirect=True)
"""For tests whose way with the API server is asked of the real one by others."""

_TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {greeting: {{ .Values.greeting | quote }}}
"""


@dataclass(slots=True)
class HelmWorld:
    """One namespace on one control plane.

    Attributes:
        seen: what the storage's observer was told: ``v1 deployed``.
    """

    world: World
    kubeconfig: JsonObject
    seen: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.world.namespace

    @property
    def storage(self) -> ReleaseStorage:
        """The records, as the tenant."""
        return ReleaseStorage(self.world.spy, self.namespace, observe=self._observe)

    def _observe(self, seen: Release) -> None:
        self.seen.append(f"v{seen.version} {seen.info.status}")

    def helm(self, folder: Path) -> AbstractAsyncContextManager[HelmSdk]:
        """Helm's own engine as the admin."""
        return helm_sdk(self.kubeconfig, self.namespace, folder)

    async def secrets(self) -> dict[str, dict[str, str]]:
        """The labels of all Secrets, but for the times."""
        page = await self.world.admin.list_all(SECRET, namespace=self.namespace)
        times = {"createdAt", "modifiedAt"}
        return {
            item["metadata"]["name"]: {
                key: text for key, text in item["metadata"]["labels"].items() if key not in times
            }
            for item in page.items
            if item.get("type") == "helm.sh/release.v1"
        }


def small_chart(folder: Path) -> Path:
    """A chart with one ConfigMap."""
    chart = folder / "small"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.2.3\n")
    (chart / "values.yaml").write_text("greeting: hello\n")
    (chart / "templates" / "settings.yaml").write_text(_TEMPLATE)
    return chart


def release(version: int, status: str = "deployed", **fields: Any) -> Release:
    """A revision of ``app`` with a chart."""
    metadata = ChartMetadata(name="small", version="1.2.3", api_version="v2")
    chart = {"metadata": msgspec.to_builtins(metadata), "templates": [], "values": {}}
    time = f"2026-01-02T03:04:0{version % 10}.5Z"
    given: dict[str, Any] = {
        "name": "app",
        "namespace": "apps",
        "info": Info(status=status, first_deployed="2026-01-02T03:04:00Z", last_deployed=time),
        "chart": Raw(json.dumps(chart).encode()),
        "metadata": metadata,
        "config": {"greeting": "bye"},
        "manifest": "---\n# Source: small/templates/none.yaml\n",
        "apply_method": "ssa",
    }
    return Release(version=version, **(given | fields))
