"""Real charts render to the objects that Helm's own tool makes of them.

About forty cases by default; ``FLUVIAL_CORPUS=all`` renders every one.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

import corpus
from fluvial.build import yaml
from fluvial.build.helm.documents import read_files, write_files
from fluvial.build.helm.model import RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.helm.manifest import manifest_text, sort_files
from fluvial.kube.capabilities import Capabilities
from fluvial.log import get_logger
from harness.helm import need_helm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

_RENDERS = 100
_EVERY = {"charts": 4, "helmreleases": 4}
# What Helm takes for granted where it asks no cluster.
_VERSIONS = """
v1 admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1alpha1
admissionregistration.k8s.io/v1beta1 internal.apiserver.k8s.io/v1alpha1 apps/v1 apps/v1beta1
apps/v1beta2 authentication.k8s.io/v1 authentication.k8s.io/v1alpha1 authentication.k8s.io/v1beta1
authorization.k8s.io/v1 authorization.k8s.io/v1beta1 autoscaling/v1 autoscaling/v2 batch/v1
batch/v1beta1 certificates.k8s.io/v1 certificates.k8s.io/v1beta1 certificates.k8s.io/v1alpha1
coordination.k8s.io/v1alpha2 coordination.k8s.io/v1beta1 coordination.k8s.io/v1 discovery.k8s.io/v1
discovery.k8s.io/v1beta1 events.k8s.io/v1 events.k8s.io/v1beta1 extensions/v1beta1
flowcontrol.apiserver.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1beta1
flowcontrol.apiserver.k8s.io/v1beta2 flowcontrol.apiserver.k8s.io/v1beta3 networking.k8s.io/v1
networking.k8s.io/v1beta1 node.k8s.io/v1 node.k8s.io/v1alpha1 node.k8s.io/v1beta1 policy/v1
policy/v1beta1 rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1beta1
rbac.authorization.k8s.io/v1alpha1 resource.k8s.io/v1 resource.k8s.io/v1beta2
resource.k8s.io/v1beta1 resource.k8s.io/v1alpha3 scheduling.k8s.io/v1alpha2
scheduling.k8s.io/v1beta1 scheduling.k8s.io/v1 storage.k8s.io/v1beta1 storage.k8s.io/v1
storage.k8s.io/v1alpha1 storagemigration.k8s.io/v1beta1 apiextensions.k8s.io/v1beta1
apiextensions.k8s.io/v1
"""


def _cases(folder: str) -> Iterator[Path]:
    cases = sorted(case for case in corpus.require(folder).iterdir() if case.name[0] != "_")
    yield from cases if os.environ.get("FLUVIAL_CORPUS") == "all" else cases[:: _EVERY[folder]]


_CASES = [case for folder in _EVERY for case in _cases(folder)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[HelmRenderer]:
    need_helm()
    async with engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool:
        yield HelmRenderer(pool)


def _packed(folder: Path) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return target.getvalue()


def _whole(value: Any) -> Any:
    """Floats without a fraction as integers, as the expectations have them."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _lines(manifest: str) -> list[str]:
    return [
        orjson.dumps(_whole(obj), option=orjson.OPT_SORT_KEYS).decode()
        for _, obj in read_files({"manifest": manifest})
    ]


def _given(case: Path, source: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The chart's archive and the values."""
    if "chart_dir" in source:
        return _packed(case / source["chart_dir"]), {}
    release = yaml.load_one((case / "helmrelease.yaml").read_bytes())
    return (case / source["chart_archive"]).read_bytes(), release["spec"].get("values") or {}


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
async def test_case(renderer: HelmRenderer, case: Path) -> None:
    source = yaml.load_one((case / "SOURCE").read_bytes())
    chart, values = _given(case, source)
    capabilities = Capabilities.of_version(source["kube_version"], tuple(_VERSIONS.split()))
    spec = RenderSpec(source["release_name"], source["namespace"], capabilities)
    rendered = await renderer.render(chart, values, spec, timeout=60, trust_domain="corpus")

    documents = read_files(rendered.files)
    assert read_files(write_files(documents)) == documents
    found = sort_files(rendered.files)
    manifest = manifest_text(found.documents)
    assert sorted(_lines(manifest)) == (case / "expected.jsonl").read_text().splitlines()
    if source["byte_stable"]:
        # In the same order, too; how much white space stands between depends on Helm's version.
        expected = _lines((case / "expected.yaml").read_text())
        for _ in range(_RENDERS):
            if _lines(manifest) == expected:
                break
            # A library of charts walks through maps in Go's order, which is another each time.
            again = await renderer.render(chart, values, spec, timeout=60, trust_domain="corpus")
            manifest = manifest_text(sort_files(again.files).documents)
        assert _lines(manifest) == expected
    expected_hooks = case / "expected.hooks.jsonl"
    if expected_hooks.is_file() and not found.dropped:
        hooks = "".join(f"---\n{hook.manifest}\n" for hook in found.hooks)
        assert sorted(_lines(hooks)) == expected_hooks.read_text().splitlines()
