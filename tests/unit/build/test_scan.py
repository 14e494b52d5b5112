"""What a build may not reach is named before it is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fluvial.build import kustomization
from fluvial.build.errors import DroppedLink, KustomizeError, RefusedInput, YamlError
from fluvial.build.generate import RootKustomization
from fluvial.build.scan import scan

MakeTree = Callable[[dict[str, str]], Path]


def _scan(
    tree: Path, path: str = ".", *, fenced: bool = True, links: tuple[str, ...] = ()
) -> frozenset[str] | None:
    """Scan from the kustomization in ``path`` as it is."""
    file = kustomization.file_in(tree / path)
    assert file is not None
    source = str(file.relative_to(tree))
    start = RootKustomization(path, source, kustomization.read(file, source=source))
    return scan(tree, start, dropped_links=links, fenced=fenced)


@pytest.mark.parametrize("name", ["resources", "bases", "components", "Resources"])
@pytest.mark.parametrize(
    "entry",
    [
        "https://github.com/org/repo//path?ref=v1",
        "http://example.com/x.yaml",
        "github.com/org/repo//path?ref=v1",
        "git@github.com:org/repo.git",
        "git::https://example.com/repo",
        "ssh://git@example.com/repo",
        "bitbucket.org/org/repo.git//path",
        "example.com/org/repo?ref=main",
        "https://dev.azure.com/org/project/_git/repo",
        "file:///etc/passwd",
    ],
)
def test_remote_entries_are_refused(make_tree: MakeTree, name: str, entry: str) -> None:
    tree = make_tree({"apps/kustomization.yaml": f"{name}: ['{entry}']\n"})

    with pytest.raises(RefusedInput, match=r"^apps/kustomization\.yaml: .* is remote") as caught:
        _scan(tree, "apps")

    assert "copy it into the repository" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "patches: [{path: 'https://x/p.yaml'}]",
        "patchesJson6902: [{path: 'https://x/p.yaml'}]",
        "patchesStrategicMerge: ['https://x/p.yaml']",
        "replacements: [{path: 'https://x/r.yaml'}]",
        "configurations: ['https://x/c.yaml']",
        "crds: ['https://x/c.json']",
        "openapi: {path: 'https://x/o.json'}",
        "transformers: ['https://x/t.yaml']",
        "generators: ['https://x/g.yaml']",
        "validators: ['https://x/v.yaml']",
        "configMapGenerator: [{name: a, files: ['k=https://x/f']}]",
        "configMapGenerator: [{name: a, envs: ['https://x/f']}]",
        "secretGenerator: [{name: a, env: 'https://x/f'}]",
    ],
)
def test_files_are_not_fetched_either(make_tree: MakeTree, content: str) -> None:
    with pytest.raises(RefusedInput, match="is remote"):
        _scan(make_tree({"kustomization.yaml": content}))


@pytest.mark.parametrize(
    "content",
    [
        "resources: ['/etc/passwd']",
        "resources: ['../../etc/passwd']",
        "resources: ['a/../../b']",
        "components: ['..']",
        "patches: [{path: ../../../etc/hostname}]",
        "configMapGenerator: [{name: a, files: [/etc/hostname]}]",
        "configMapGenerator: [{name: a, files: ['k=../x']}]",
        "secretGenerator: [{name: a, envs: [../x]}]",
        "openapi: {path: ../x}",
        "configurations: [/etc/x]",
    ],
)
def test_paths_outside_the_artifact_are_refused(make_tree: MakeTree, content: str) -> None:
    with pytest.raises(RefusedInput, match="is outside the artifact"):
        _scan(make_tree({"kustomization.yaml": content}))


def test_paths_outside_the_folder_but_inside_the_artifact_are_fine(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "apps/kustomization.yaml": "resources: [../base]\npatches: [{path: ../p.yaml}]",
            "base/kustomization.yaml": "resources: [x.yaml]",
            "base/x.yaml": "cm:x",
            "p.yaml": "a: 1",
        }
    )

    _scan(tree, "apps")


@pytest.mark.parametrize(
    ("link", "entry"),
    [("x.yaml", "x.yaml"), ("base", "../base/x.yaml"), ("base", "../base")],
    ids=["file", "in-folder", "folder"],
)
def test_what_was_a_link_is_named(make_tree: MakeTree, link: str, entry: str) -> None:
    tree = make_tree({"apps/kustomization.yaml": f"resources: [{entry}]"})
    links = (f"apps/{link}" if link == "x.yaml" else link,)

    with pytest.raises(DroppedLink, match=f"needs {links[0]}, which is a symbolic link"):
        _scan(tree, "apps", links=("other", *links))


@pytest.mark.parametrize(
    "content",
    ["resources: [x.yaml]", "configMapGenerator: [{name: a, files: [k=x.yaml]}]", "crds: [x]"],
)
def test_what_is_missing_is_named(make_tree: MakeTree, content: str) -> None:
    with pytest.raises(KustomizeError, match=r"^kustomization\.yaml: .* does not exist"):
        _scan(make_tree({"kustomization.yaml": content}), links=("y.yaml", "x.yaml.old"))


def test_problems_deep_below_are_found(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "kustomization.yaml": "resources: [a]",
            "a/kustomization.yml": "components: [../b]",
            "b/Kustomization": "kind: Component\nTransformers: [./t]",
            "b/t/kustomization.yaml": "Bases: [github.com/x/y]",
        }
    )

    with pytest.raises(RefusedInput, match=r"^b/t/kustomization\.yaml: bases: 'github.com/x/y'"):
        _scan(tree)


def test_a_folder_without_a_kustomization_is_named(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]", "a/x.yaml": "cm:x"})

    with pytest.raises(KustomizeError, match=r"^a: there is no kustomization\.yaml"):
        _scan(tree)


def test_broken_yaml_deep_below_is_named(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "a: ["})

    with pytest.raises(YamlError, match=r"^a/kustomization\.yaml:\d: "):
        _scan(tree)


@pytest.mark.parametrize("name", ["helmCharts", "HelmCharts", "helmChartInflationGenerator"])
def test_helm_is_refused(make_tree: MakeTree, name: str) -> None:
    tree = make_tree({"kustomization.yaml": f"{name}: [{{name: x}}]"})

    with pytest.raises(RefusedInput, match="use a HelmRelease"):
        _scan(tree)


@pytest.mark.parametrize(
    "content",
    [
        "resources: [x.yaml]\nResources: [/etc/passwd]",
        "patches: [{path: x.yaml, Path: /etc/passwd}]",
        "configMapGenerator: [{name: a, FILES: [/etc/passwd], files: [x.yaml]}]",
    ],
)
def test_a_field_in_two_cases_hides_nothing(make_tree: MakeTree, content: str) -> None:
    tree = make_tree({"kustomization.yaml": content, "x.yaml": "cm:x"})

    with pytest.raises(KustomizeError, match="are the same field"):
        _scan(tree)


def test_letters_that_the_program_takes_for_the_same_are_the_same(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "re\u017fources: [/etc/passwd]"})

    with pytest.raises(RefusedInput, match="outside the artifact"):
        _scan(tree)


def test_circles_end(make_tree: MakeTree) -> None:
    tree = make_tree(
        {"a/kustomization.yaml": "resources: [../b, .]", "b/kustomization.yaml": "bases: [../a]"}
    )

    _scan(tree, "a")


@pytest.mark.parametrize(
    "content",
    [
        "transformers: ['{kind: PatchTransformer}']",
        'transformers: ["kind: PatchTransformer\\npath: /etc/hostname\\n"]',
        "generators: [x.yaml]",
        "validators: [x.yaml]",
        "crds: [x.yaml]",
        "openapi: {path: x.yaml}",
    ],
)
def test_without_a_fence_what_can_name_any_file_is_refused(
    make_tree: MakeTree, content: str
) -> None:
    tree = make_tree({"kustomization.yaml": content, "x.yaml": "cm:x"})

    _scan(tree, fenced=True)
    with pytest.raises(RefusedInput, match="no Landlock"):
        _scan(tree, fenced=False)


def test_inline_patches_are_no_files(make_tree: MakeTree) -> None:
    content = "patchesStrategicMerge:\n- |\n  kind: A\n  https://x: y\npatches: [{patch: 'a: b'}]\n"

    _scan(make_tree({"kustomization.yaml": content}), fenced=False)


def test_local_folders_that_look_remote_are_local(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "kustomization.yaml": "resources: [github.com/x/y]",
            "github.com/x/y/kustomization.yaml": "resources: []",
        }
    )

    _scan(tree)


@pytest.mark.parametrize(
    "content", ["resources: text", "resources: [1, null, {a: b}, '']", "patches: [1]", "crds: {}"]
)
def test_wrong_types_are_left_to_the_program(make_tree: MakeTree, content: str) -> None:
    _scan(make_tree({"kustomization.yaml": content}))


def test_huge_kustomizations_are_not_read(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": ""})
    with (tree / "a/kustomization.yaml").open("wb") as file:
        file.truncate(9 * 1024**2)

    with pytest.raises(RefusedInput, match="larger than 8 MiB"):
        _scan(tree)


def test_what_is_needed_is_told(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "apps/kustomization.yaml": "resources: [../base, x.yaml]\n"
            "patches: [{path: ../p.yaml}, {patch: 'a: b'}]\n"
            "replacements: [{path: r.yaml}]\nconfigurations: [c.yaml]\n"
            "configMapGenerator: [{name: a, files: [k=f, g], envs: [e], env: h}]\n",
            "base/Kustomization": "resources: [b.yaml]",
            "base/b.yaml": "cm:b",
            "base/unused.yaml": "cm:u",
            "p.yaml": "",
            **dict.fromkeys(
                ["apps/" + name for name in ("x.yaml", "r.yaml", "c.yaml", *"fgeh")], ""
            ),
        }
    )

    assert _scan(tree, "apps") == frozenset(
        [
            *("apps/kustomization.yaml", "base/Kustomization", "base/b.yaml", "p.yaml"),
            *("apps/x.yaml", "apps/r.yaml", "apps/c.yaml", "apps/f", "apps/g", "apps/e", "apps/h"),
        ]
    )


def test_a_folder_in_place_of_a_file_is_an_error(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "patches: [{path: a}]", "a/x": ""})

    with pytest.raises(KustomizeError, match="patches: 'a' is a folder, not a file"):
        _scan(tree)


def test_transformers_may_need_anything(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "transformers: ['{kind: PatchTransformer}']"})

    assert _scan(tree) is None


@pytest.mark.parametrize("entry", ["link.yaml", "dir/x.yaml", "dir"])
def test_links_count_as_missing(make_tree: MakeTree, entry: str) -> None:
    tree = make_tree({"kustomization.yaml": f"resources: [{entry}]", "real/x.yaml": "cm:x"})
    (tree / "link.yaml").symlink_to("real/x.yaml")
    (tree / "dir").symlink_to("real")

    with pytest.raises(KustomizeError, match="does not exist"):
        _scan(tree)
