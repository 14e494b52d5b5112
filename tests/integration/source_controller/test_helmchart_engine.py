"""What is packaged here is what Helm's own engine loads and renders."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import corpus
from fluvial.build.helm.model import RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.kube.capabilities import Capabilities
from fluvial.log import get_logger
from harness.helm import need_helm
from harness.helmcharts import chart, packed
from source_controller.helm import building
from source_controller.helm.building import Fetched, Wish

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SPEC = RenderSpec("demo", "space", Capabilities.of_version("v1.33.4", ("v1", "apps/v1")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def helm() -> AsyncIterator[HelmRenderer]:
    need_helm()
    async with engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool:
        yield HelmRenderer(pool)


async def rendered(helm: HelmRenderer, data: bytes) -> dict[str, str]:
    """What the engine makes of a package, file by file."""
    found = await helm.render(data, {}, SPEC, timeout=30.0, trust_domain="test")
    return dict(found.files)


def lay(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


async def test_a_chart_with_all_that_it_needs(helm: HelmRenderer, tmp_path: Path) -> None:
    """One dependency from elsewhere and one beside it, aliases, conditions, merged values."""
    needs: list[dict[str, Any]] = [
        {"name": "lib", "version": "1.x", "repository": "https://charts.example", "alias": "one"},
        {"name": "lib", "version": "2.x", "repository": "https://charts.example", "alias": "two"},
        {"name": "near", "version": "*", "repository": "file://../near"},
        {
            "name": "rest",
            "version": "*",
            "repository": "file://../near/../rest",
            "condition": "rest.enabled",
        },
    ]
    template = "v: {{ .Values.v }}\nchart: {{ .Chart.Name }}-{{ .Chart.Version }}\n"
    files = chart(dependencies=needs, files={"templates/map.yaml": template})
    tree = tmp_path / "source"
    lay(tree / "app", files)
    lay(tree / "near", chart("near", files={"templates/map.yaml": template}))
    lay(tree / "rest", chart("rest"))
    lay(tree, {"prod.yaml": "v: prod\none: {v: first}\nrest: {enabled: false}\n"})
    wish = Wish("app", tree="source", metadata="abc.1", values_files=("prod.yaml",))
    found = building.inspect(tmp_path, wish)
    libs = []
    for number, requirement in enumerate(item for item in found.missing if not item.is_local):
        version = f"{requirement.version[0]}.5.0"
        lib = chart("lib", version, files={"templates/map.yaml": template})
        (tmp_path / f"{number}.tgz").write_bytes(packed(lib, folder="lib"))
        libs.append(Fetched(requirement, f"{number}.tgz"))
    building.package(tmp_path, wish, tuple(libs), tmp_path / "app.tgz")
    seen = await rendered(helm, (tmp_path / "app.tgz").read_bytes())

    assert len(found.missing) == 4
    assert {name: text.split() for name, text in seen.items() if text.strip()} == {
        "app/templates/map.yaml": ["v:", "prod", "chart:", "app-1.0.0+abc.1"],
        "app/charts/one/templates/map.yaml": ["v:", "first", "chart:", "one-1.5.0"],
        "app/charts/two/templates/map.yaml": ["v:", "one", "chart:", "two-2.5.0"],
        "app/charts/near/templates/map.yaml": ["v:", "one", "chart:", "near-1.0.0"],
    }


async def test_a_downloaded_chart_with_other_values(helm: HelmRenderer, tmp_path: Path) -> None:
    inner = packed(chart("inner"), folder="inner")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz") as archive:
        files = chart(
            dependencies=[{"name": "inner", "version": "1.0.0"}], files={"prod.yaml": "v: prod\n"}
        )
        texts = {name: text.encode() for name, text in files.items()}
        for name, data in {**texts, "charts/inner-1.0.0.tgz": inner}.items():
            info = tarfile.TarInfo(f"app/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "source.tgz").write_bytes(plain.getvalue())
    wish = Wish("source.tgz", metadata="3", values_files=("values.yaml", "prod.yaml"))
    building.package(tmp_path, wish, (), tmp_path / "app.tgz")
    seen = await rendered(helm, (tmp_path / "app.tgz").read_bytes())

    assert "prod" in seen["app/templates/map.yaml"]
    assert "app/charts/inner/templates/map.yaml" in seen


async def test_charts_of_the_wild(helm: HelmRenderer, tmp_path: Path) -> None:
    """As a folder packaged here, and as the folder itself in an archive: the engine sees one chart.

    Those that it does not render at all, or not twice alike, say nothing.
    """
    cases = sorted(corpus.require("charts").iterdir())[::6]
    told = 0
    for number, case in enumerate(cases):
        folder = next((item.parent for item in sorted(case.glob("*/Chart.yaml"))), None)
        if folder is None:
            continue
        work = tmp_path / str(number)
        work.mkdir()
        (work / "source").symlink_to(case)
        wish = Wish(folder.name, tree="source")
        found = building.inspect(work, wish)
        if found.missing:
            continue
        building.package(work, wish, (), work / "app.tgz")
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w:gz") as archive:
            archive.add(folder, arcname=found.name)
        try:
            first, again = [await rendered(helm, plain.getvalue()) for _ in range(2)]
        except Exception:  # noqa: BLE001, S112  # whatever the engine has against it
            continue
        if first != again:
            continue
        told += 1
        assert await rendered(helm, (work / "app.tgz").read_bytes()) == first, case.name

    assert told >= len(cases) // 2
