"""What Helm's engine makes of charts, in a real worker."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fluvial.build.helm.errors import ChartInvalid, TemplateFailed, ValuesRefused
from fluvial.build.helm.lookup import Lookup, LookupAnswer, LookupQuery
from fluvial.build.helm.model import PostRendering, RenderedRelease, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.kube.capabilities import Capabilities
from fluvial.kube.errors import Unreachable
from fluvial.log import get_logger
from fluvial.workers.pool import WorkerPool
from harness.charts import chart, packed
from harness.helm import need_helm

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

Render = Callable[..., Awaitable[RenderedRelease]]
SECRET = "correct-horse"


async def said(render: Render, template: str, *arguments: Any, **changes: Any) -> str:
    """What one template gives."""
    rendered = await render(chart(templates__a=template), *arguments, **changes)
    return rendered.files["app/templates/a.yaml"]


async def test_a_template_sees_its_release(render: Render) -> None:
    template = "{{ .Release | toJson }}"
    seen = json.loads(await said(render, template, revision=7, is_upgrade=True))

    assert seen == {
        "Name": "demo",
        "Namespace": "space",
        "Revision": 7,
        "IsUpgrade": True,
        "IsInstall": False,
        "Service": "Helm",
    }


async def test_capabilities_are_the_cluster_s_and_no_others(render: Render) -> None:
    template = (
        "{{ .Capabilities.APIVersions | toJson }}|{{ .Capabilities.KubeVersion }}"
        '|{{ .Capabilities.KubeVersion.Minor }}|{{ .Capabilities.APIVersions.Has "policy/v1beta1" }}'
        '|{{ .Capabilities.APIVersions.Has "apps/v1/Deployment" }}'
    )
    one = Capabilities("v1.30.2-gke.7", "1", "30+", ("apps/v1", "apps/v1/Deployment"))
    other = Capabilities("v1.36.0", "1", "36")

    assert await said(render, template, capabilities=one) == (
        '["apps/v1","apps/v1/Deployment"]|v1.30.2-gke.7|30+|false|true'
    )
    assert await said(render, template, capabilities=other) == "[]|v1.36.0|36|false|false"


async def test_capabilities_of_many_versions_and_back(render: Render) -> None:
    for count in (2000, 1, 2000, 3):
        versions = tuple(f"group{number}.example.com/v1" for number in range(count))
        many = Capabilities.of_version("v1.33.4", versions)
        text = await said(render, "{{ .Capabilities.APIVersions | toJson }}", capabilities=many)

        assert json.loads(text) == list(versions)


async def test_values_are_laid_over_the_chart_s(render: Render) -> None:
    files = {"values.yaml": "a: 1\nb: {c: 2, d: 3}\n", "templates__a": "{{ .Values | toJson }}"}
    rendered = await render(chart(**files), {"b": {"c": None, "e": [1]}, "n": 1000000})

    assert json.loads(rendered.files["app/templates/a.yaml"]) == {
        "a": 1,
        "b": {"d": 3, "e": [1]},
        "n": 1000000,
    }
    assert rendered.config == {"b": {"c": None, "e": [1]}, "n": 1000000}


async def test_a_chart_gets_another_version(render: Render) -> None:
    archive = chart(
        more="keywords: [a]\ndescription: '1'\n",
        templates__a="{{ .Chart.Version }} {{ .Chart.Description | quote }}",
        **{"charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n"},
    )
    rendered = await render(archive, chart_version="1.0.0+0123456789ab")

    assert rendered.files["app/templates/a.yaml"] == '1.0.0+0123456789ab "1"'
    assert rendered.chart["metadata"]["version"] == "1.0.0+0123456789ab"
    assert rendered.chart["metadata"]["keywords"] == ["a"]


@pytest.mark.parametrize("text", [": [", "- a", ""])
async def test_a_version_does_not_mend_a_chart(render: Render, text: str) -> None:
    with pytest.raises(ChartInvalid, match=r"Chart\.yaml|metadata|name"):
        await render(packed({"Chart.yaml": text}), chart_version="1.0.0")


@pytest.mark.parametrize("value", [2**70, -(2**70), 0.1, "é", None, [{}]], ids=str)
async def test_values_of_any_kind(render: Render, value: Any) -> None:
    text = await said(render, "{{ .Values.v | toJson }}", {"v": value})

    assert json.loads(text) == value


@pytest.mark.parametrize("value", [float("inf"), object()], ids=["infinite", "no-json"])
async def test_values_that_are_none(render: Render, value: Any) -> None:
    with pytest.raises(ValuesRefused):
        await said(render, "", {"v": [value, 2**70]})


async def test_what_a_chart_is_made_of(render: Render) -> None:
    archive = chart(
        more="dependencies: [{name: db, version: 0.1.0, condition: db.on}]\n",
        **{
            "templates/NOTES.txt": "revision {{ .Release.Revision }}",
            "templates/_helpers.tpl": '{{ define "x" }}x{{ end }}',
            "templates/a.yaml": '{{ include "x" . }}',
            "crds/thing.yaml": "kind: CustomResourceDefinition\nname: {{ not a template }}\n",
            "charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 0.1.0\n",
            "charts/db/templates/NOTES.txt": "of the subchart",
            "charts/db/templates/b.yaml": "{{ .Values.global | toJson }}",
            "charts/db/crds/other.yaml": "kind: CustomResourceDefinition\n",
        },
    )
    on = await render(archive, {"db": {"on": True}})
    off = await render(archive, {"db": {"on": False}})
    again = await render(archive, {"db": {"on": True}})

    assert on.files["app/charts/db/templates/b.yaml"] == "{}"
    assert on.files["app/templates/a.yaml"] == "x"
    assert not any("NOTES" in path or "_helpers" in path for path in on.files)
    assert on.notes == "revision 1"
    assert [(crd.name, crd.path) for crd in on.crds] == [
        ("crds/thing.yaml", "app/crds/thing.yaml"),
        ("crds/other.yaml", "app/charts/db/crds/other.yaml"),
    ]
    assert "not a template" in on.crds[0].text
    assert "app/charts/db/templates/b.yaml" not in off.files
    assert len(off.crds) == 1
    assert again == on


async def test_definitions_without_a_render(pool: WorkerPool) -> None:
    definition = "kind: CustomResourceDefinition\n"
    sub = {"Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n", "crds/c.yml": definition}
    archive = packed(
        {
            "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '>=9'\n"
            "dependencies: [{name: off, version: 0.1.0, condition: off.x}]\n",
            "values.schema.json": '{"required": ["never"]}',
            "templates/a.yaml": '{{ fail "not yet" }}',
            "crds/a.yaml": definition,
            "crds/README.md": "text",
            "charts/off/Chart.yaml": "apiVersion: v2\nname: off\nversion: 0.1.0\n",
            "charts/off/crds/b.yaml": definition,
            "charts/sub.tgz": packed({**sub, "templates/b.yaml": "{{ .x.y }}"}, folder="sub"),
        }
    )
    found = await HelmRenderer(pool).definitions(
        archive, {"off": {"x": False}}, timeout=20, trust_domain="test"
    )

    assert [(crd.path, crd.text) for crd in found] == [
        ("app/crds/a.yaml", definition),
        ("app/charts/sub/crds/c.yml", definition),
    ]
    with pytest.raises(ChartInvalid):
        await HelmRenderer(pool).definitions(b"x", {}, timeout=20, trust_domain="test")


async def test_the_stored_chart_has_contents_and_times(render: Render) -> None:
    binary = bytes(range(256))
    rendered = await render(
        packed(
            {
                "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nkeywords: [k]\n",
                "Chart.lock": "generated: 2024-01-02T03:04:05Z\ndigest: sha256:ab\n"
                "dependencies: [{name: d, version: 1.0.0, repository: ''}]\n",
                "values.yaml": "a: 1\n",
                "values.schema.json": '{"type": "object"}',
                "templates/a.yaml": "a: b\n",
                "logo.png": binary,
            }
        )
    )
    time = "2023-11-14T22:13:20Z"

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    assert rendered.chart == {
        "metadata": {"name": "app", "version": "1.0.0", "keywords": ["k"], "apiVersion": "v2"},
        "lock": {
            "generated": "2024-01-02T03:04:05Z",
            "digest": "sha256:ab",
            "dependencies": [{"name": "d", "version": "1.0.0", "repository": ""}],
        },
        "templates": [{"name": "templates/a.yaml", "data": encoded(b"a: b\n"), "modtime": time}],
        "values": {"a": 1},
        "schema": encoded(b'{"type": "object"}'),
        "schemamodtime": time,
        "files": [{"name": "logo.png", "data": encoded(binary), "modtime": time}],
        "modtime": time,
    }


async def test_values_that_do_not_fit_the_schema(render: Render) -> None:
    schema = '{"properties": {"port": {"type": "integer"}}}'
    archive = chart(templates__a="x: 1", **{"values.schema.json": schema})
    with pytest.raises(ValuesRefused, match=r"at '/port': got string, want integer"):
        await render(archive, {"port": "http"})

    unchecked = await render(archive, {"port": "http"}, validate_values=False)
    assert list(unchecked.files) == ["app/templates/a.yaml"]


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/s.json", "file:///etc/passwd"])
async def test_a_schema_fetches_nothing(render: Render, target: str, unused_tcp_port: int) -> None:
    address = target.format(port=unused_tcp_port)
    schema = json.dumps({"properties": {"a": {"$ref": address}, "b": {"type": "string"}}})
    archive = chart(templates__a="x: 1", **{"values.schema.json": schema})
    rendered = await render(archive, {"a": 1})

    (warning,) = rendered.warnings
    assert warning == (
        f"values.schema.json refers to {address}, which is not fetched:"
        " values are not checked against that part"
    )
    with pytest.raises(ValuesRefused):
        await render(archive, {"b": 1})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a: 1\nb: {{ .Values.x.y }}", r"(?s)app/templates/a\.yaml:2:.*nil pointer"),
        ('{{ fail "no way" }}', r"app/templates/a\.yaml:1:.*no way"),
        ('{{ required "x is needed" .Values.x }}', r"x is needed"),
        ("{{ if }}", r"app/templates/a\.yaml:1.*missing value for if"),
        ('{{ env "HOME" }}', r'function "env" not defined'),
        ('{{ expandenv "$HOME" }}', r'function "expandenv" not defined'),
        ('{{ define "r" }}{{ include "r" . }}{{ end }}{{ include "r" . }}', r"nested reference"),
    ],
    ids=["nil", "fail", "required", "syntax", "env", "expandenv", "recursion"],
)
async def test_a_template_that_fails_says_where(
    render: Render, template: str, message: str
) -> None:
    with pytest.raises(TemplateFailed, match=message):
        await said(render, template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ fail .Values.password }}",
        "{{ .Values.password | b64enc | fail }}",
        '{{ fail (printf "%q" .Values.password) }}',
        "{{ .Values.password.oops }}",
    ],
)
async def test_no_secret_in_an_error(render: Render, template: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        await said(render, template, {"password": SECRET}, secrets=[SECRET])

    assert SECRET not in str(caught.value)
    assert base64.b64encode(SECRET.encode()).decode() not in str(caught.value)


async def test_what_is_no_object_is_said_with_its_file(render: Render) -> None:
    with pytest.raises(TemplateFailed, match=r"YAML parse error on app/templates/a\.yaml"):
        await said(render, "a: [", post=PostRendering(labels={"a": "b"}))


@pytest.mark.parametrize("wanted", [">=1.99.0", "nonsense"])
async def test_a_chart_for_other_clusters(render: Render, wanted: str) -> None:
    with pytest.raises(ChartInvalid, match=r"chart requires kubeVersion.*Kubernetes v1\.33\.4"):
        await render(chart(more=f"kubeVersion: '{wanted}'\n", templates__a="x: 1"))


async def test_a_chart_that_is_only_there_for_others(render: Render) -> None:
    """Nothing of it would be rendered, and an empty release would be called ready."""
    with pytest.raises(ChartInvalid, match="of type library, which cannot be installed"):
        await render(chart(more="type: library\n", templates__a="x: 1"))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"no archive", "not a gzipped tar archive"),
        (packed({"README.md": "x"}), "Chart.yaml"),
        (packed({"Chart.yaml": "apiVersion: v2\nname: app\n"}), "version"),
        (packed({"Chart.yaml": ": ["}), "Chart.yaml"),
    ],
    ids=["bytes", "no-chart", "no-version", "no-yaml"],
)
async def test_what_is_no_chart(render: Render, archive: bytes, message: str) -> None:
    with pytest.raises(ChartInvalid, match=message):
        await render(archive)


class Cluster:
    """Answers as an API server would."""

    def __init__(self) -> None:
        self.asked: list[LookupQuery] = []

    async def __call__(self, query: LookupQuery) -> LookupAnswer:
        self.asked.append(query)
        if not query.plural:
            return LookupAnswer(200, _RESOURCES) if query.group == "" else _refused(404)
        if query.name == "forbidden":
            return _refused(403, 'secrets "forbidden" is forbidden: tenant cannot get it')
        if query.name == "down":
            raise Unreachable("the API server is away")
        if query.name == "missing":
            return _refused(404)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
        if query.name:
            return LookupAnswer(200, secret)
        return LookupAnswer(
            200, {"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": [secret]}
        )


_RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "v1",
    "resources": [
        {"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["get", "list"]},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False, "verbs": ["get"]},
    ],
}


def _refused(code: int, message: str = "no") -> LookupAnswer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    reason = {403: "Forbidden", 404: "NotFound"}[code]
    return LookupAnswer(code, {**body, "message": message, "reason": reason})


async def test_lookup_is_answered_by_the_caller(render: Render) -> None:
    cluster = Cluster()
    template = (
        '{{ (lookup "v1" "Secret" "space" "s").metadata.name }}'
        '|{{ len (lookup "v1" "Secret" "space" "").items }}'
        '|{{ lookup "v1" "Secret" "space" "missing" | toJson }}'
        '|{{ (lookup "v1" "Namespace" "" "s").kind }}'
        '|{{ len (lookup "v1" "Secret" "" "").items }}'
    )
    assert await said(render, template, lookup=cluster) == "s|1|{}|Secret|1"
    assert cluster.asked == [
        LookupQuery("", "v1"),
        LookupQuery("", "v1", "secrets", "space", "s"),
        LookupQuery("", "v1", "secrets", "space"),
        LookupQuery("", "v1", "secrets", "space", "missing"),
        LookupQuery("", "v1", "namespaces", "", "s"),
        LookupQuery("", "v1", "secrets"),
    ]


async def test_what_the_tenant_may_not_read_fails_the_template(render: Render) -> None:
    template = 'x: 1\ny: {{ lookup "v1" "Secret" "space" "forbidden" }}'
    with pytest.raises(TemplateFailed, match=r"a\.yaml:2:.*tenant cannot get it"):
        await said(render, template, lookup=Cluster())


async def test_a_cluster_that_does_not_answer_is_no_fault_of_the_chart(render: Render) -> None:
    with pytest.raises(Unreachable):
        await said(render, '{{ lookup "v1" "Secret" "space" "down" }}', lookup=Cluster())

    assert await said(render, "still: here") == "still: here"


async def test_without_a_cluster_lookup_finds_nothing(render: Render) -> None:
    assert await said(render, '{{ lookup "v1" "Secret" "space" "s" | toJson }}') == "{}"


async def test_a_name_cannot_leave_its_place_in_a_path(render: Render) -> None:
    cluster = Cluster()
    template = '{{ lookup "v1" "Secret" "space/../x" "../../kube-system/secrets/s" }}'
    with pytest.raises(TemplateFailed):
        await said(render, template, lookup=cluster)

    assert cluster.asked == [LookupQuery("", "v1")]


async def test_renders_at_the_same_time_do_not_mix() -> None:
    need_helm()
    template = (
        '{{ (lookup "v1" "Secret" "space" "mine").metadata.name }} {{ .Values.n }}'
        " {{ .Capabilities.KubeVersion.Version }}"
    )
    archive = chart(templates__a=template)

    def cluster(number: int) -> Lookup:
        async def answer(query: LookupQuery) -> LookupAnswer:
            await asyncio.sleep(0.01)
            if not query.plural:
                return LookupAnswer(200, _RESOURCES)
            return LookupAnswer(200, {"kind": "Secret", "metadata": {"name": f"of-{number}"}})

        return answer

    async with engine_pool(log=get_logger("test"), size=2, keep_spare=False) as pool:
        renderer = HelmRenderer(pool)
        rendered = await asyncio.gather(
            *(
                renderer.render(
                    archive,
                    {"n": number},
                    RenderSpec("demo", "space", Capabilities.of_version(f"v1.{number}.0")),
                    timeout=20,
                    trust_domain=str(number % 2),
                    lookup=cluster(number),
                )
                for number in range(12)
            )
        )

    assert [each.files["app/templates/a.yaml"] for each in rendered] == [
        f"of-{number} {number} v1.{number}.0" for number in range(12)
    ]
