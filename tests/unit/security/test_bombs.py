"""Small inputs that ask for much: none may take the memory or the time of the others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fluvial.apply import Masker
from fluvial.build import generate, postbuild, yaml
from fluvial.build.errors import BuildError, RefusedInput, SubstitutionError, YamlError
from fluvial.build.spec import BuildSpec
from fluvial.kube import kubeconfig
from fluvial.objects import JsonObject


def alias_bomb(*, text: int, aliases: int) -> str:
    """Few nodes, but each repeats a long text; enough plain nodes come first to hide it."""
    filler = ",".join(["1"] * (aliases // 50 + 10))
    return f"{{f: [{filler}], a: &a {'x' * text}, b: [{','.join(['*a'] * aliases)}]}}"


def size_of(value: Any) -> int:
    if isinstance(value, dict):
        return sum(size_of(item) for item in value.values())
    if isinstance(value, list):
        return sum(size_of(item) for item in value)
    return len(str(value))


def test_aliases_of_a_long_text() -> None:
    with pytest.raises(YamlError, match="repeat too much text"):
        yaml.load_one(alias_bomb(text=50_000, aliases=5_000).encode())


def test_aliases_of_a_long_text_in_many_documents() -> None:
    document = alias_bomb(text=20_000, aliases=500) + "\n---\n"

    with pytest.raises(YamlError, match="repeat too much text"):
        yaml.load_all((document * 5).encode())


def test_aliases_of_aliases_of_a_long_text() -> None:
    text = f"f: [{','.join(['1'] * 200)}]\na: &a {'x' * 50_000}\nb: &b [{','.join(['*a'] * 30)}]\n"

    with pytest.raises(YamlError, match="repeat too much text"):
        yaml.load_one((text + f"c: [{','.join(['*b'] * 30)}]\n").encode())


def test_ordinary_aliases_are_fine() -> None:
    found = yaml.load_one(alias_bomb(text=1_000, aliases=500).encode())

    assert size_of(found) > 500_000


def config_map(name: str, value: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n"},
        "data": {"k": value},
    }


async def substitute(
    objects: list[JsonObject], values: dict[str, str]
) -> list[postbuild.Substituted]:
    return await postbuild.apply_variables(objects, postbuild.Variables(values), strict=True)


async def test_a_bomb_that_substitution_sets_off() -> None:
    value = alias_bomb(text=50_000, aliases=5_000)

    with pytest.raises(SubstitutionError, match="not valid YAML after substitution"):
        await substitute([config_map("c", "${v}")], {"v": value})


@pytest.mark.slow
async def test_many_objects_that_are_each_within_the_limit() -> None:
    objects = [config_map(f"c{number}", "${v}" * 8) for number in range(40)]

    with pytest.raises(SubstitutionError, match="larger than 64 MiB"):
        await substitute(objects, {"v": "x" * 500_000})


async def test_substituting_much_holds_up_nobody() -> None:
    objects = [config_map(f"c{number}", "${v} ${w}") for number in range(300)]
    longest = 0.0
    done = False

    async def watch() -> None:
        nonlocal longest
        while not done:
            start = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - start)

    watching = asyncio.create_task(watch(), name="watch")
    await asyncio.sleep(0)
    await substitute(objects, {"v": "a", "w": "b"})
    turns_were_taken = longest > 0
    done = True
    await watching

    assert turns_were_taken, "nobody else ran in between"


def test_thousands_of_secret_values_are_masked_in_time() -> None:
    values = [f"secret-value-{number}" for number in range(5_000)]
    start = time.process_time()
    text = Masker(values).text("secret-valuf " * 500 + values[4_711])

    assert values[4_711] not in text
    assert time.process_time() - start < 0.5


def test_more_secret_values_than_can_be_looked_for_hide_the_whole_text() -> None:
    values = [f"secret-value-{number}" for number in range(2_000)]

    assert "visible" not in Masker(values).text("visible " * 100_000)


def test_merge_keys_cannot_blow_up_a_kubeconfig() -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for level in range(1, 6):
        parts = ",".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {{<<: [{parts}]}}")

    with pytest.raises(kubeconfig.InvalidKubeConfig):
        kubeconfig.parse("\n".join(lines).encode())


def test_huge_manifests_of_a_plain_folder_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(65 * 1024**2)  # sparse: takes no room

    with pytest.raises(RefusedInput, match="larger than 64 MiB"):
        generate.generate(tmp_path, BuildSpec())


def test_a_huge_root_kustomization_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "kustomization.yaml").open("wb") as file:
        file.truncate(9 * 1024**2)

    with pytest.raises(BuildError, match="larger than 8 MiB"):
        generate.generate(tmp_path, BuildSpec())


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth(opening: str) -> None:
    with pytest.raises(YamlError):
        yaml.load_one((opening * 100_000).encode())
