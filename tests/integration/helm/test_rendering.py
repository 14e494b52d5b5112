"""Our renders equal those of Helm's own tool on the same cluster, and read only as the tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.build.helm.errors import TemplateFailed
from fluvial.build.helm.lookup import cluster_lookup
from fluvial.build.helm.model import LastValues, RenderedRelease, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.helm.manifest import manifest_text, sort_files
from fluvial.helm.values import coalesce_tables
from fluvial.kube.capabilities import CapabilitiesReader
from fluvial.log import get_logger
from harness.charts import chart
from harness.helm import need_helm
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.helm_world import HelmWorld

pytestmark = pytest.mark.slow

CHART = chart(
    more=(
        "kubeVersion: '>=1.20.0-0'\n"
        "appVersion: 1.10\ntype: application\ndescription: <all> & more\nicon: https://i.test\n"
        "home: https://h.test\nsources: [https://s.test]\nkeywords: [k]\ndeprecated: true\n"
        "maintainers: [{name: n, email: e@test, url: https://u.test}]\n"
        "annotations: {a.test/b: 'c'}\nunknown: x\n"
        "dependencies:\n"
        "- {name: db, version: 0.1.0, condition: store.enabled, alias: store, import-values: [data]}\n"
        "- {name: idle, version: 0.1.0, condition: idle.enabled}\n"
    ),
    **{
        "Chart.lock": "generated: 2024-01-02T03:04:05.6Z\ndigest: sha256:ab\n"
        "dependencies: [{name: db, version: 0.1.0, repository: ''}]\n",
        "values.yaml": "store: {enabled: true}\nidle: {enabled: false}\nbig: 1000000\n",
        "values.schema.json": '{"type": "object"}',
        "README.md": "# <read> & me\n",
        "templates/NOTES.txt": "revision {{ .Release.Revision }} of {{ .Chart.Name }}",
        "templates/_helpers.tpl": '{{ define "name" }}{{ .Release.Name }}-app{{ end }}',
        "templates/seen.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ include "name" . }}}
data:
  versions: {{ .Capabilities.APIVersions | sortAlpha | toJson | quote }}
  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}
  text: {{ .Capabilities.KubeVersion | toString | quote }}
  minor: {{ .Capabilities.KubeVersion.Minor | quote }}
  release: {{ .Release | toJson | quote }}
  values: {{ .Values | toJson | quote }}
  found: {{ (lookup "v1" "ConfigMap" .Release.Namespace "given").data | toJson | quote }}
  listed: {{ len (lookup "v1" "ConfigMap" .Release.Namespace "").items | int | quote }}
  missing: {{ lookup "v1" "Secret" .Release.Namespace "missing" | toJson | quote }}
  block: |
    last line""",
        "templates/hook.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {"helm.sh/hook": "post-delete"}}
""",
        "charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 0.1.0\n",
        "charts/db/values.yaml": "exports: {data: {imported: 5}}\n",
        "charts/db/templates/db.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\n",
        "charts/idle/Chart.yaml": "apiVersion: v2\nname: idle\nversion: 0.1.0\n",
        "charts/idle/templates/idle.yaml": "kind: Never\n",
    },
)
PLAIN = chart(
    templates__a="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
)
VALUES = {"text": "yes", "n": 1.5}


@pytest.fixture
async def renderer() -> AsyncIterator[HelmRenderer]:
    need_helm()
    async with engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool:
        yield HelmRenderer(pool)


async def _render(
    renderer: HelmRenderer,
    world: HelmWorld,
    archive: bytes,
    values: dict[str, Any],
    **changes: Any,
) -> RenderedRelease:
    capabilities = await CapabilitiesReader(world.world.admin).current()
    return await renderer.render(
        archive,
        values,
        RenderSpec("app", world.namespace, capabilities, **changes),
        timeout=30,
        trust_domain=world.namespace,
        lookup=cluster_lookup(world.world.spy.client),
    )


@pytest.mark.parametrize("made", [CHART, PLAIN], ids=["full", "plain"])
async def test_an_install_and_an_upgrade_equal_helm_s(
    world: HelmWorld, renderer: HelmRenderer, tmp_path: Path, made: bytes
) -> None:
    given = {"metadata": {"name": "given", "namespace": world.namespace}, "data": {"a": "b"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", **given}
    await world.world.admin.create(CONFIG_MAPS, body, field_manager="test")
    archive = tmp_path / "app-1.0.0.tgz"
    archive.write_bytes(made)
    async with world.helm(tmp_path) as helm:
        for revision, action in ((1, "install"), (2, "upgrade")):
            ours = await _render(
                renderer, world, made, VALUES, revision=revision, is_upgrade=revision == 2
            )
            await helm.do(action, chart=str(archive), name="app", values=VALUES)
            theirs = await world.storage.last("app")

            ours_sorted = sort_files(ours.files)
            assert manifest_text(ours_sorted.documents) == theirs.manifest
            assert ours_sorted.hooks == theirs.hooks
            assert ours.notes == theirs.info.notes
            assert ours.config == theirs.config
            stored = orjson.loads(bytes(theirs.chart))
            assert ours.chart == stored
            assert orjson.dumps(ours.chart) == orjson.dumps(stored)  # in the same order


async def test_an_upgrade_that_keeps_the_last_values_equals_helm_s(
    world: HelmWorld, renderer: HelmRenderer, tmp_path: Path
) -> None:
    template = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n"
        "data: {values: {{ .Values | toJson | quote }}}\n"
    )
    old = "a: 1\nb: {c: 2, d: null, e: {f: 3}}\ng: gone\n"
    new = "a: 10\nb: {c: 20, x: new}\ny: new\n"
    archives = [
        chart(version=f"1.0.{number}", templates__a=template, **{"values.yaml": values})
        for number, values in enumerate((old, new))
    ]
    paths = [tmp_path / f"app-{number}.tgz" for number in range(2)]
    for path, archive in zip(paths, archives, strict=True):
        path.write_bytes(archive)
    first: dict[str, Any] = {"b": {"c": 3, "z": [1]}, "g": None}
    # A null over a value of the last release is another matter: Helm lets it have no effect at first.
    second: dict[str, Any] = {"b": {"e": {"f": 4}}, "n": 1}
    async with world.helm(tmp_path) as helm:
        await helm.do("install", chart=str(paths[0]), name="app", values=first)
        stored = await world.storage.last("app")
        await helm.do("upgrade", chart=str(paths[1]), name="app", values=second, reuse_values=True)
        theirs = await world.storage.last("app")

    last = LastValues(chart=orjson.loads(bytes(stored.chart))["values"], config=stored.config)
    config = coalesce_tables(second, stored.config)
    ours = await _render(
        renderer, world, archives[1], config, revision=2, is_upgrade=True, last=last
    )
    assert manifest_text(sort_files(ours.files).documents) == theirs.manifest
    assert ours.config == theirs.config
    assert ours.chart == orjson.loads(bytes(theirs.chart))


async def test_the_tenant_s_rights_are_the_template_s(
    world: HelmWorld, renderer: HelmRenderer
) -> None:
    template = '{{ lookup "v1" "Secret" "kube-system" "" | toJson }}'
    with pytest.raises(TemplateFailed, match=r"templates/a\.yaml:1:.*secrets is forbidden"):
        await _render(renderer, world, chart(templates__a=template), {})
