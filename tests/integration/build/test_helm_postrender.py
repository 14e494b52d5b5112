"""kustomize's patches and images on what a chart's templates give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fluvial.api.helm import Kustomize
from fluvial.api.kustomize import Image, Patch, Selector
from fluvial.build import yaml
from fluvial.build.errors import EngineFailed
from fluvial.build.helm.errors import RenderTimeout, TemplateFailed
from fluvial.build.helm.model import PostRendering, RenderSpec, Strategy
from fluvial.build.helm.postrender import PostRenderer
from fluvial.build.helm.renderer import HelmRenderer
from fluvial.build.kustomize import KubectlEngine
from fluvial.kube.capabilities import Capabilities
from fluvial.workers.pool import WorkerPool
from harness.charts import chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

Objects = dict[str, list[dict[str, Any]]]
Run = Callable[..., Awaitable[Objects]]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, annotations: {team: none}}
spec: {containers: [{name: c, image: "nginx:1"}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa}
"""
HOOK = """
apiVersion: batch/v1
kind: Job
metadata: {name: prepare, annotations: {"helm.sh/hook": pre-install}}
spec: {template: {spec: {containers: [{name: c, image: "nginx:1"}]}}}
"""
SAME_HOOK = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa, annotations: {"helm.sh/hook": pre-install}}
"""
NEWER = Kustomize(images=(Image(name="nginx", new_tag="2"),))
TEAM = Kustomize(
    patches=(
        Patch(
            patch='[{"op": "replace", "path": "/metadata/annotations/team", "value": "red"}]',
            target=Selector(kind="Pod"),
        ),
    )
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest_asyncio.fixture(loop_scope="module")
async def run(pool: WorkerPool, tmp_path: Path, work: Path) -> AsyncIterator[Run]:
    home = tmp_path / "home"
    home.mkdir()
    renderer = HelmRenderer(pool, post_renderer=PostRenderer(KubectlEngine(home), work_dir=work))
    spec = RenderSpec("demo", "space", Capabilities.of_version("v1.33.4"))

    async def render(post: PostRendering, *, timeout: float = 20.0, **templates: str) -> Objects:
        files = {f"templates__{name}": text for name, text in templates.items()}
        rendered = await renderer.render(
            chart(**files), {}, replace(spec, post=post), timeout=timeout, trust_domain="test"
        )
        return {
            path.removeprefix("app/templates/"): yaml.load_all(text.encode())
            for path, text in rendered.files.items()
        }

    yield render
    assert list(work.iterdir()) == []


def _image(obj: dict[str, Any]) -> str:
    spec = obj["spec"]
    spec = spec["template"]["spec"] if "template" in spec else spec
    image: str = spec["containers"][0]["image"]
    return image


async def test_renderers_come_first_then_metadata(run: Run) -> None:
    post = PostRendering(
        kustomize=(NEWER, TEAM), labels={"owner": "us"}, annotations={"team": "blue"}
    )
    objects = await run(post, web=POD)
    pod, account = objects["web.yaml"]

    assert _image(pod) == "nginx:2"
    assert pod["metadata"] == {
        "name": "web",
        "annotations": {"team": "blue"},
        "labels": {"owner": "us"},
    }
    assert account["metadata"] == {
        "name": "sa",
        "annotations": {"team": "blue"},
        "labels": {"owner": "us"},
    }


async def test_each_renderer_sees_what_the_one_before_made(run: Run) -> None:
    again = Kustomize(images=(Image(name="nginx", new_name="httpd"),))
    objects = await run(PostRendering(kustomize=(NEWER, again)), web=POD)

    assert _image(objects["web.yaml"][0]) == "httpd:2"
    assert objects["web.yaml"][0]["metadata"]["annotations"] == {"team": "none"}
    assert objects["web.yaml"][1]["metadata"] == {"name": "sa"}


@pytest.mark.parametrize(
    ("strategy", "image", "labels"),
    [
        ("combined", "nginx:2", {"owner": "us"}),
        ("separate", "nginx:2", {"owner": "us"}),
        ("nohooks", "nginx:1", None),
    ],
)
async def test_what_happens_to_hooks(
    run: Run, strategy: Strategy, image: str, labels: dict[str, str] | None
) -> None:
    post = PostRendering(kustomize=(NEWER,), labels={"owner": "us"}, strategy=strategy)
    objects = await run(post, web=POD, hook=HOOK)

    assert _image(objects["hook.yaml"][0]) == image
    assert objects["hook.yaml"][0]["metadata"].get("labels") == labels
    assert _image(objects["web.yaml"][0]) == "nginx:2"


async def test_labels_alone_leave_hooks_out_without_kustomize(run: Run) -> None:
    post = PostRendering(labels={"owner": "us"}, strategy="nohooks")
    objects = await run(post, web=POD, hook=HOOK)

    assert "labels" not in objects["hook.yaml"][0]["metadata"]
    assert objects["web.yaml"][0]["metadata"]["labels"] == {"owner": "us"}


async def test_a_hook_that_is_also_an_object_clashes_unless_separate(run: Run) -> None:
    with pytest.raises(TemplateFailed, match=r"post-renderer 1 fails: .*already registered id"):
        await run(PostRendering(kustomize=(NEWER,)), web=POD, hook=SAME_HOOK)
    objects = await run(
        PostRendering(kustomize=(NEWER,), strategy="separate"), web=POD, hook=SAME_HOOK
    )

    assert len(objects["hook.yaml"]) == 1
    assert len(objects["web.yaml"]) == 2


async def test_a_patch_that_does_not_fit(run: Run) -> None:
    wrong = Kustomize(patches=(Patch(patch="{", target=Selector(kind="Pod")),))
    with pytest.raises(TemplateFailed, match="post-renderer 2 fails"):
        await run(PostRendering(kustomize=(NEWER, wrong)), web=POD)


class Crashing:
    """A program that dies, and quotes what it read."""

    fenced = True

    async def build(self, root: Path, path: str, *, timeout: float) -> list[dict[str, Any]]:
        raise EngineFailed(f"crashed: {(root / 'resources.yaml').read_text()}")


async def test_no_secret_in_the_end_of_a_program(pool: WorkerPool, work: Path) -> None:
    renderer = HelmRenderer(pool, post_renderer=PostRenderer(Crashing(), work_dir=work))
    post = PostRendering(kustomize=(NEWER,))
    spec = RenderSpec("demo", "space", Capabilities.of_version("v1.33.4"), post=post)
    archive = chart(templates__a="kind: {{ .Values.password }}")
    with pytest.raises(EngineFailed, match="crashed") as caught:
        await renderer.render(
            archive,
            {"password": "correct-horse"},
            spec,
            timeout=9,
            trust_domain="test",
            secrets=["correct-horse"],
        )

    assert "correct-horse" not in str(caught.value)
    assert list(work.iterdir()) == []


async def test_rendered_objects_are_never_instructions(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct-horse")
    text = f"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {{name: p}}\npath: {secret}\n"
    kustomization = (
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"metadata: {{name: k}}\nresources: [{secret}]\n"
    )
    objects = await run(PostRendering(kustomize=(NEWER,)), p=text, k=kustomization)

    assert objects["p.yaml"][0]["path"] == str(secret)
    assert "correct-horse" not in str(objects)


async def test_no_time_is_left(run: Run) -> None:
    with pytest.raises(RenderTimeout):
        await run(PostRendering(kustomize=(NEWER,) * 200), web=POD, timeout=0.5)


async def test_without_a_program(pool: WorkerPool) -> None:
    spec = RenderSpec(
        "demo", "space", Capabilities.of_version("v1.33.4"), post=PostRendering(kustomize=(NEWER,))
    )
    with pytest.raises(EngineFailed):
        await HelmRenderer(pool).render(
            chart(templates__a=POD), {}, spec, timeout=9, trust_domain="test"
        )
