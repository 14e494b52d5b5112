"""The official program in its fence; hostile trees first."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.build import sandbox
from fluvial.build.errors import BuildTimeout, EngineFailed, KustomizeError
from fluvial.build.kustomize import KubectlEngine, kubectl_path
from fluvial.workers.landlock import landlock_version

MakeTree = Callable[[dict[str, str]], Path]
_RESOURCE = "resources: [x.yaml]\n"
_PLUGIN = "apiVersion: builtin\\nmetadata: {name: p}\\n"

needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="the kernel has no Landlock")


async def _refused(engine: KubectlEngine, tree: Path, content: str) -> str:
    (tree / "kustomization.yaml").write_text(content)
    with pytest.raises(KustomizeError) as caught:
        await engine.build(tree, ".", timeout=30)
    return str(caught.value)


@needs_landlock
@pytest.mark.parametrize(
    "content",
    [
        f"{_RESOURCE}patches: [{{path: SECRET}}]",
        "resources: [SECRET]",
        f"{_RESOURCE}patches: [{{path: /etc/hostname}}]",
        "configMapGenerator: [{name: a, files: [SECRET]}]",
        "configMapGenerator: [{name: a, envs: [SECRET]}]",
        f'{_RESOURCE}transformers: ["kind: PatchTransformer\\n{_PLUGIN}path: SECRET\\n"]',
        f'generators: ["kind: ConfigMapGenerator\\n{_PLUGIN}files: [SECRET]\\n"]',
        f"{_RESOURCE}openapi: {{path: SECRET}}",
        f"{_RESOURCE}configurations: [SECRET]",
        f"{_RESOURCE}crds: [SECRET]",
    ],
)
async def test_files_of_the_host_cannot_be_read(
    engine: KubectlEngine, make_tree: MakeTree, tmp_path: Path, content: str
) -> None:
    tree = make_tree({"x.yaml": "cm:x"})
    secret = tmp_path / "secret.yaml"
    secret.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {k: hunter2}\n")

    message = await _refused(engine, tree, content.replace("SECRET", str(secret)))

    assert "permission denied" in message
    assert "hunter2" not in message


@needs_landlock
async def test_links_out_of_the_root_lead_nowhere(
    engine: KubectlEngine, make_tree: MakeTree
) -> None:
    tree = make_tree({"x.yaml": "cm:x"})
    (tree / "link.yaml").symlink_to("/etc/passwd")

    message = await _refused(engine, tree, "resources: [link.yaml]")

    assert "permission denied" in message


@needs_landlock
async def test_nothing_is_fetched(engine: KubectlEngine, make_tree: MakeTree) -> None:
    tree = make_tree({})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]

        message = await _refused(engine, tree, f"resources: ['http://127.0.0.1:{port}/x.yaml']")

        assert "permission denied" in message
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_no_other_program_is_run(engine: KubectlEngine, make_tree: MakeTree) -> None:
    message = await _refused(engine, make_tree({}), "resources: ['git::file:///tmp/x']")

    assert "executable file not found" in message or "permission denied" in message


async def test_the_environment_is_not_inherited(
    engine: KubectlEngine, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKED_TOKEN", "hunter2")
    content = "configMapGenerator: [{name: a, envs: [env], options: {disableNameSuffixHash: true}}]"
    tree = make_tree({"kustomization.yaml": content, "env": "LEAKED_TOKEN\n"})

    (obj,) = await engine.build(tree, ".", timeout=30)

    assert "hunter2" not in str(obj)


async def test_circles_are_refused(engine: KubectlEngine, make_tree: MakeTree) -> None:
    tree = make_tree({"a/kustomization.yaml": "resources: [../]"})

    assert "cycle detected" in await _refused(engine, tree, "resources: [a]")


@pytest.fixture
def bomb(make_tree: MakeTree) -> Path:
    """A tree whose build would take for ever: aliases of aliases."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "apiVersion: v1\nkind: X\nmetadata: {name: x}\n" + "\n".join(lines)
    return make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": text})


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """The children that are started."""
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def recording(*arguments: str, **keywords: Any) -> asyncio.subprocess.Process:
        process = await create(*arguments, **keywords)
        started.append(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recording)
    return started


async def test_a_build_that_takes_too_long_is_killed(
    engine: KubectlEngine, bomb: Path, processes: list[asyncio.subprocess.Process]
) -> None:
    with pytest.raises(BuildTimeout, match=r"longer than 0\.2 seconds"):
        await engine.build(bomb, ".", timeout=0.2)

    assert [process.returncode for process in processes] == [-signal.SIGKILL]


async def test_a_build_that_nobody_wants_any_more_is_killed(
    engine: KubectlEngine, bomb: Path, processes: list[asyncio.subprocess.Process]
) -> None:
    building = asyncio.create_task(engine.build(bomb, ".", timeout=30), name="build")
    while not processes:
        await asyncio.sleep(0)
    building.cancel()

    with pytest.raises(asyncio.CancelledError):
        await building
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


async def test_too_much_output_is_killed(tmp_path: Path, make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": "cm:" + "x" * 300_000})
    limits = sandbox.Limits(output=100_000)
    small = KubectlEngine(tmp_path, limits=limits)

    with pytest.raises(KustomizeError, match="output is larger than"):
        await small.build(tree, ".", timeout=30)


async def test_too_little_memory_is_an_engine_failure(tmp_path: Path, make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": "cm:x"})
    small = KubectlEngine(tmp_path, limits=sandbox.Limits(memory=100 * 1024**2))

    with pytest.raises(EngineFailed):
        await small.build(tree, ".", timeout=30)


async def test_the_program_comes_from_the_wheel() -> None:
    program = kubectl_path()

    assert program.name == "kubectl"
    assert os.access(program, os.X_OK)


async def test_paths_in_messages_are_relative(engine: KubectlEngine, make_tree: MakeTree) -> None:
    tree = make_tree({"x.yaml": "cm:x"})

    message = await _refused(engine, tree, f"{_RESOURCE}bases: []\npatches: [{{path: no.yaml}}]")

    assert str(tree) not in message
    assert "no.yaml" in message
    assert "Warning" not in message
    assert not message.startswith("error:")


async def test_objects_come_in_the_order_of_the_files(
    engine: KubectlEngine, make_tree: MakeTree
) -> None:
    tree = make_tree(
        {
            "kustomization.yaml": "resources: [b.yaml, a.yaml]\nsortOptions: {order: fifo}",
            "a.yaml": "cm:a",
            "b.yaml": "cm:b",
        }
    )

    objects = await engine.build(tree, ".", timeout=30)

    assert [obj["metadata"]["name"] for obj in objects] == ["b", "a"]


async def test_a_kernel_without_landlock_still_builds(
    engine: KubectlEngine, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "landlock_version", lambda: 0)
    monkeypatch.setattr("fluvial.build.kustomize.landlock_version", lambda: 0)
    tree = make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": "cm:x"})

    assert not engine.fenced
    assert len(await engine.build(tree, ".", timeout=30)) == 1


async def test_a_fence_that_cannot_be_put_up_is_no_build(
    engine: KubectlEngine, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluvial.build.launcher.__file__", "/nonexistent/launcher.py")
    tree = make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": "cm:x"})

    with pytest.raises(EngineFailed):
        await engine.build(tree, ".", timeout=30)


async def test_a_missing_program_is_an_engine_failure(tmp_path: Path, make_tree: MakeTree) -> None:
    engine = KubectlEngine(tmp_path, program=tmp_path / "missing")

    with pytest.raises(EngineFailed, match="No such file"):
        await engine.build(make_tree({}), ".", timeout=30)


async def test_large_and_small_objects_are_read_alike(
    engine: KubectlEngine, make_tree: MakeTree
) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {}}}\ndata: {{k: {}}}\n"
    block = '"---\\n---\\n"'
    documents = [text.format("a", "x" * 100_000), text.format("b", block), text.format("c", "x")]
    tree = make_tree({"kustomization.yaml": _RESOURCE, "x.yaml": "---\n".join(documents)})

    objects = await engine.build(tree, ".", timeout=30)

    assert [obj["metadata"]["name"] for obj in objects] == ["a", "b", "c"]
    assert objects[1]["data"] == {"k": "---\n---\n"}


async def test_nothing_is_a_result(engine: KubectlEngine, make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "namespace: _placeholder"})

    assert await engine.build(tree, ".", timeout=30) == []


@pytest.mark.parametrize(("crashes", "tries"), [(1, 2), (2, 2)], ids=["once", "again"])
async def test_a_crash_costs_one_more_try(
    engine: KubectlEngine,
    make_tree: MakeTree,
    monkeypatch: pytest.MonkeyPatch,
    crashes: int,
    tries: int,
) -> None:
    codes = [-signal.SIGSEGV] * crashes + [0]
    asked: list[int] = []

    async def run(*_: Any, **__: Any) -> sandbox.Outcome:
        asked.append(codes.pop(0))
        return sandbox.Outcome(asked[-1], b"", "")

    monkeypatch.setattr(sandbox, "run_fenced", run)
    building = engine.build(make_tree({}), ".", timeout=30)
    if crashes < tries:
        assert await building == []
    else:
        with pytest.raises(EngineFailed, match="signal 11"):
            await building

    assert len(asked) == tries
