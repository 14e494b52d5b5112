"""From a tree to objects, once per digest and spec."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.api.kustomize import Image, Patch, Selector
from fluvial.build.builder import Builder, BuildResult, BuildSpec, checked
from fluvial.build.cache import BuildCache, encode
from fluvial.build.errors import (
    BuildTimeout,
    DroppedLink,
    DuplicateObject,
    EngineFailed,
    KustomizeError,
    RefusedInput,
)
from fluvial.build.view import private_view, remove_leftovers
from fluvial.clock import RealClock
from fluvial.objects import JsonObject

MakeTree = Callable[[dict[str, str]], Path]
_OBJECT: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}


def _names(result: BuildResult) -> list[str]:
    return [obj["metadata"]["name"] for obj in result.objects]


# --- with the official program -----------------------------------------------------------------


async def test_a_plain_folder_is_built_in_the_order_of_its_files(
    builder: Builder, make_tree: MakeTree
) -> None:
    tree = make_tree({"b.yaml": "cm:b", "a/z.yaml": "cm:z", "c.yml": "cm:c"})

    result = await builder.build(tree, BuildSpec(), cache_key="", timeout=30)

    assert _names(result) == ["z", "b", "c"]
    assert not result.cached
    assert result.seconds > 0


async def test_everything_of_the_spec_takes_effect(builder: Builder, make_tree: MakeTree) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
        "spec: {template: {spec: {containers: [{name: web, image: 'app:1'}]}}}\n"
    )
    tree = make_tree(
        {
            "apps/web.yaml": deployment,
            "part/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n"
            "resources: [extra.yaml]\n",
            "part/extra.yaml": "cm:extra",
        }
    )
    patch = '[{"op": "add", "path": "/spec/replicas", "value": 3}]'
    spec = BuildSpec(
        path="./apps",
        target_namespace="prod",
        name_prefix="a-",
        name_suffix="-z",
        images=(Image(name="app", new_name="reg/app", new_tag="2"),),
        patches=(Patch(patch=patch, target=Selector(kind="Deployment")),),
        components=("../part", "../missing"),
        ignore_missing_components=True,
        build_metadata=("originAnnotations",),
    )

    result = await builder.build(tree, spec, cache_key="", timeout=30)

    deployment_object, extra = result.objects
    assert deployment_object["metadata"] == {
        "name": "a-web-z",
        "namespace": "prod",
        "annotations": {"config.kubernetes.io/origin": "path: web.yaml\n"},
    }
    assert deployment_object["spec"]["replicas"] == 3
    (container,) = deployment_object["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "reg/app:2"
    assert extra["metadata"]["name"] == "a-extra-z"


async def test_an_empty_folder_gives_nothing(builder: Builder, make_tree: MakeTree) -> None:
    result = await builder.build(make_tree({"a.txt": ""}), BuildSpec(), cache_key="", timeout=30)

    assert result.objects == ()


async def test_what_the_scan_finds_is_raised(builder: Builder, make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [base, https://x/y]"})

    with pytest.raises(DroppedLink, match="needs base"):
        await builder.build(tree, BuildSpec(), cache_key="", timeout=30, dropped_links=["base"])


async def test_the_artifact_is_not_touched_and_nothing_is_left(
    builder: Builder, make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "cm:a"})
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}

    await builder.build(tree, BuildSpec(target_namespace="x"), cache_key="", timeout=30)
    with pytest.raises(KustomizeError):
        await builder.build(tree, BuildSpec(components=("no",)), cache_key="", timeout=30)

    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before
    assert (tree / "kustomization.yaml").read_text() == "resources: [a.yaml]\n"
    assert list((tmp_path / "work").iterdir()) == []


async def test_links_in_the_tree_are_not_followed(
    builder: Builder, make_tree: MakeTree, tmp_path: Path
) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a.yaml]"})
    (tmp_path / "outside.yaml").write_text("apiVersion: v1\nkind: X\nmetadata: {name: x}\n")
    (tree / "a.yaml").symlink_to(tmp_path / "outside.yaml")

    with pytest.raises(KustomizeError, match="does not exist in the artifact"):
        await builder.build(tree, BuildSpec(), cache_key="", timeout=30)


# --- caching and sharing, with an engine that counts --------------------------------------------


class _Engine:
    """Answers when told to, and counts."""

    fenced = True

    def __init__(self, *outcomes: list[JsonObject] | Exception) -> None:
        self.outcomes = list(outcomes)
        self.builds = 0
        self.go_on = asyncio.Event()

    async def build(self, root: Path, path: str, *, timeout: float) -> list[JsonObject]:
        self.builds += 1
        outcome = self.outcomes.pop(0) if self.outcomes else [dict(_OBJECT)]
        await self.go_on.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class _Setup:
    def __init__(self, tmp_path: Path, engine: _Engine, max_bytes: int = 10_000) -> None:
        self.tree, work = tmp_path / "tree", tmp_path / "work"
        for folder in (self.tree, work):
            folder.mkdir(exist_ok=True)
        self.engine = engine
        self.cache = BuildCache(max_bytes)
        self.builder = Builder(engine, self.cache, RealClock(), work_dir=work)

    async def build(self, key: str = "sha256:1", **keywords: Any) -> BuildResult:
        arguments: dict[str, Any] = {"spec": BuildSpec(), "timeout": 30} | keywords
        return await self.builder.build(self.tree, cache_key=key, **arguments)

    async def together(self, number: int) -> list[BuildResult | BaseException]:
        """Several calls of which the first has started to build before it may go on."""
        tasks = [asyncio.create_task(self.build(), name=f"build-{n}") for n in range(number)]
        while not self.engine.builds:
            await asyncio.sleep(0.001)
        self.engine.go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_equal_builds_are_done_once(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())
    setup.engine.go_on.set()

    first = await setup.build()
    second = await setup.build()

    assert (first.cached, second.cached) == (False, True)
    assert first.objects == second.objects
    assert setup.engine.builds == 1


@pytest.mark.parametrize(
    "keywords",
    [{"key": "sha256:2"}, {"spec": BuildSpec(name_prefix="a-")}, {"key": ""}],
    ids=["digest", "spec", "no-key"],
)
async def test_different_builds_are_not_mixed_up(tmp_path: Path, keywords: dict[str, Any]) -> None:
    setup = _Setup(tmp_path, _Engine())
    setup.engine.go_on.set()

    await setup.build()
    other = await setup.build(**keywords)

    assert not other.cached
    assert setup.engine.builds == 2


async def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())
    setup.engine.go_on.set()

    await setup.build("")

    assert len(setup.cache) == 0


async def test_nobody_changes_what_another_gets(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())
    setup.engine.go_on.set()

    for _ in range(3):
        result = await setup.build()
        assert result.objects == (_OBJECT,)
        result.objects[0]["metadata"]["name"] = "changed"


async def test_equal_builds_at_the_same_time_are_one(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())

    results = await setup.together(5)

    assert [result.objects for result in results if isinstance(result, BuildResult)] == [
        (_OBJECT,)
    ] * 5
    assert setup.engine.builds == 1


async def test_an_error_of_the_author_is_shared(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine(KustomizeError("bad")))

    results = await setup.together(3)

    assert [str(result) for result in results] == ["bad"] * 3
    assert setup.engine.builds == 1


@pytest.mark.parametrize("error", [EngineFailed("x"), BuildTimeout("x")], ids=repr)
async def test_an_error_of_the_engine_is_not_shared(tmp_path: Path, error: Exception) -> None:
    setup = _Setup(tmp_path, _Engine(error))

    first, *others = await setup.together(3)

    assert first is error
    assert all(isinstance(other, BuildResult) for other in others)
    assert setup.engine.builds == 2


async def test_who_waits_takes_over_from_who_is_cancelled(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())
    leader = asyncio.create_task(setup.build(), name="leader")
    while not setup.engine.builds:
        await asyncio.sleep(0.001)
    follower = asyncio.create_task(setup.build(), name="follower")
    await asyncio.sleep(0)
    leader.cancel()
    setup.engine.go_on.set()

    assert (await follower).objects == (_OBJECT,)
    assert leader.cancelled() or await asyncio.wait([leader])


async def test_time_is_limited_for_those_who_wait_too(tmp_path: Path) -> None:
    setup = _Setup(tmp_path, _Engine())
    leader = asyncio.create_task(setup.build(), name="leader")
    while not setup.engine.builds:
        await asyncio.sleep(0.001)

    with pytest.raises(BuildTimeout, match=r"longer than 0\.01 seconds"):
        await setup.build(timeout=0.01)

    setup.engine.go_on.set()
    assert (await leader).objects == (_OBJECT,)


def test_the_cache_forgets_what_was_used_least_recently() -> None:
    entry = (encode(_OBJECT),)
    size = len(entry[0]) + 64
    cache = BuildCache(max_bytes=2 * size)
    cache.put("a", entry)
    cache.put("b", entry)
    cache.get("a")
    cache.put("c", entry)
    cache.put("too large", (encode({"x": "y" * 1000}),))
    cache.put("c", entry)

    assert [cache.get(key) is not None for key in ("a", "b", "c", "too large")] == [
        True,
        False,
        True,
        False,
    ]
    assert cache.size == 2 * size


# --- what was built ----------------------------------------------------------------------------


def _object(name: str, **changes: Any) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **changes}


def test_lists_are_opened_and_settings_left_out() -> None:
    documents: list[JsonObject] = [
        {"apiVersion": "v1", "kind": "List", "items": [_object("a"), {"kind": "X"}, 1]},
        {"apiVersion": "v1", "kind": "ConfigMapList", "items": [_object("b")]},
        {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"},
        {"apiVersion": "x/v1", "kind": "Menu", "metadata": {"name": "m"}, "items": []},
    ]

    assert [obj["metadata"]["name"] for obj in checked(documents)] == ["a", "b", "m"]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"apiVersion": None}, "apiVersion"),
        ({"kind": ""}, "kind"),
        ({"metadata": {}}, "metadata.name"),
        ({"metadata": {"generateName": "x-"}}, "metadata.name"),
        ({"metadata": None}, "metadata.name"),
    ],
    ids=["apiVersion", "kind", "name", "generateName", "metadata"],
)
def test_incomplete_objects_are_refused(change: JsonObject, missing: str) -> None:
    with pytest.raises(KustomizeError, match=f"has no {missing}:"):
        list(checked([_object("x", **change)]))


def test_the_same_object_twice_names_both() -> None:
    first = _object("x", apiVersion="apps/v1", kind="Deployment")
    second = _object("x", apiVersion="apps/v1beta1", kind="Deployment")

    with pytest.raises(
        DuplicateObject,
        match=r"^Deployment/x occurs twice: as apps/v1 \(object 1.*as apps/v1beta1 \(object 3\)",
    ):
        list(checked([first, _object("x"), second]))


# --- private copies ----------------------------------------------------------------------------


async def test_a_copy_has_the_files_and_no_links(tmp_path: Path, make_tree: MakeTree) -> None:
    tree = make_tree({"a/b/c.yaml": "text", "d": ""})
    (tree / "link").symlink_to("d")
    os.mkfifo(tree / "pipe")

    async with private_view(tree, work_dir=tmp_path) as root:
        found = {str(path.relative_to(root)) for path in root.rglob("*")}
        (root / "d").unlink()

    assert found == {"a", "a/b", "a/b/c.yaml", "d"}
    assert not root.exists()
    assert (tree / "d").exists()


@pytest.mark.parametrize("is_all", [True, False], ids=["all", "some"])
async def test_too_deep_a_tree_is_refused(
    tmp_path: Path, make_tree: MakeTree, *, is_all: bool
) -> None:
    file = "/".join(["d"] * 201) + "/x"
    tree = make_tree({file: ""})

    with pytest.raises(RefusedInput, match="deeper than 200"):
        async with private_view(
            tree, work_dir=tmp_path, only=None if is_all else frozenset([file])
        ):
            pass


async def test_only_what_is_needed_is_copied(tmp_path: Path, make_tree: MakeTree) -> None:
    tree = make_tree({"a/b": "text", "a/c": "", "d": "", "e": ""})

    async with private_view(tree, work_dir=tmp_path, only=frozenset(["a/b", "e"])) as root:
        found = {str(path.relative_to(root)) for path in root.rglob("*")}
        text = (root / "a/b").read_text()

    assert found == {"a", "a/b", "e"}
    assert text == "text"


async def test_a_tree_that_is_gone_is_an_engine_failure(builder: Builder, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="No such file"):
        await builder.build(tmp_path / "gone", BuildSpec(), cache_key="", timeout=30)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "build-old" / "a").mkdir(parents=True)
    (tmp_path / "other").mkdir()

    remove_leftovers(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["other"]
