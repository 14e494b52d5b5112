"""The root kustomization: found or generated, and overlaid with the spec."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.api.kustomize import Image, Patch, Selector
from fluvial.build import yaml
from fluvial.build.errors import DroppedLink, KustomizeError, PathNotFound, RefusedInput, YamlError
from fluvial.build.generate import generate
from fluvial.build.spec import BuildSpec

MakeTree = Callable[[dict[str, str]], Path]


def _generated(tree: Path, spec: BuildSpec | None = None, **keywords: Any) -> dict[str, Any]:
    return generate(tree, spec or BuildSpec(), **keywords).content


# --- plain folders -----------------------------------------------------------------------------


def test_a_plain_folder_lists_its_manifests(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "b.yaml": "cm:b",
            "a.yml": "cm:a",
            ".hidden.yaml": "cm:h",
            "README.md": "text",
            "sub/deep/c.yaml": "cm:c",
            "app/kustomization.yaml": "resources: [x.yaml]",
            "app/x.yaml": "not: a manifest",
            "zoo/Kustomization": "resources: []",
        }
    )

    content = _generated(tree)

    assert content == {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [".hidden.yaml", "a.yml", "app", "b.yaml", "sub/deep/c.yaml", "zoo"],
        "sortOptions": {"order": "fifo"},
    }


def test_an_empty_folder_gets_a_kustomization_that_does_nothing(make_tree: MakeTree) -> None:
    content = _generated(make_tree({"README.md": "text"}))

    assert content["namespace"] == "_placeholder"
    assert "resources" not in content


def test_only_the_path_is_looked_at(make_tree: MakeTree) -> None:
    tree = make_tree({"apps/a.yaml": "cm:a", "broken.yaml": "a: ["})

    found = generate(tree, BuildSpec(path="./apps/"))

    assert (found.folder, found.file) == ("apps", "apps/kustomization.yaml")
    assert found.content["resources"] == ["a.yaml"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: 1\n", "an object without kind"),
        ("kind: ConfigMap\n", "an object without metadata.name"),
        ("[1]", "not an object"),
        ("apiVersion: v1\nkind: List\nitems: []\n---\nfoo: bar\n", "an object without kind"),
    ],
    ids=["kind", "name", "list", "second-document"],
)
def test_every_yaml_file_of_a_plain_folder_must_be_a_manifest(
    make_tree: MakeTree, content: str, problem: str
) -> None:
    tree = make_tree({"apps/values.yaml": content})

    with pytest.raises(KustomizeError, match=f"^apps/values.yaml: {problem}; every .yaml file"):
        generate(tree, BuildSpec(path="apps"))


def test_broken_yaml_is_named_with_its_line(make_tree: MakeTree) -> None:
    tree = make_tree({"apps/a.yaml": "a: 1\na: 2\n"})

    with pytest.raises(YamlError, match=r"^apps/a.yaml:2: key \"a\" is already set"):
        generate(tree, BuildSpec())


def test_links_are_not_listed(make_tree: MakeTree, tmp_path: Path) -> None:
    tree = make_tree({"a.yaml": "cm:a"})
    (tree / "b.yaml").symlink_to("a.yaml")
    (tree / "up").symlink_to(tmp_path)
    (tree / "kustomization.yaml").symlink_to("a.yaml")

    assert _generated(tree)["resources"] == ["a.yaml"]


def test_lists_and_empty_documents_are_manifests(make_tree: MakeTree) -> None:
    tree = make_tree({"a.yaml": "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems: []\n"})

    assert _generated(tree)["resources"] == ["a.yaml"]


# --- the path ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", ".", "./", "/", "../..", "a/.."])
def test_paths_stop_at_the_root(make_tree: MakeTree, path: str) -> None:
    assert generate(make_tree({"a/x.yaml": "cm:x"}), BuildSpec(path=path)).folder == "."


@pytest.mark.parametrize("path", ["missing", "a.yaml", "../a.yaml", "a\0b"])
def test_a_path_must_be_a_folder(make_tree: MakeTree, path: str) -> None:
    with pytest.raises(PathNotFound) as caught:
        generate(make_tree({"a.yaml": "cm:a"}), BuildSpec(path=path))

    assert caught.value.reason_hint == "ArtifactFailed"
    assert repr(path) in str(caught.value)


def test_a_path_that_was_a_link_says_so(make_tree: MakeTree) -> None:
    with pytest.raises(DroppedLink, match="leads through apps/prod, which is a symbolic link"):
        generate(make_tree({}), BuildSpec(path="apps/prod/eu"), dropped_links=["x", "apps/prod"])


# --- the file that is there --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_the_file_is_used_and_what_the_author_wrote_is_kept(make_tree: MakeTree, name: str) -> None:
    tree = make_tree({name: "resources: [a.yaml]\ncommonLabels: {on: 'yes'}\n", "a.yaml": "cm:a"})

    assert _generated(tree) == {
        "resources": ["a.yaml"],
        "commonLabels": {"true": "yes"},
        "sortOptions": {"order": "fifo"},
    }


def test_an_order_of_the_author_is_kept(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\nSortOptions: {order: legacy}\n"})

    content = _generated(tree)

    assert content["SortOptions"] == {"order": "legacy"}
    assert "sortOptions" not in content


@pytest.mark.parametrize(
    "content", ["", "# nothing\n", "resources: []\n", "configMapGenerator: []\n"], ids=repr
)
def test_without_resources_the_origin_is_asked_for(make_tree: MakeTree, content: str) -> None:
    tree = make_tree({"kustomization.yaml": content})

    assert _generated(tree)["buildMetadata"] == ["originAnnotations"]


@pytest.mark.parametrize("content", ["[1]", "text"], ids=repr)
def test_a_file_that_is_no_mapping_is_an_error(make_tree: MakeTree, content: str) -> None:
    with pytest.raises(KustomizeError, match=r"^apps/kustomization\.yaml: "):
        generate(make_tree({"apps/kustomization.yaml": content}), BuildSpec(path="apps"))


def test_the_shared_bytes_of_the_artifact_are_not_written_to(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\n"})
    shared = tree.parent / "shared.yaml"
    os.link(tree / "kustomization.yaml", shared)

    generate(tree, BuildSpec(target_namespace="x")).write(tree)

    assert yaml.load_one((tree / "kustomization.yaml").read_bytes())["namespace"] == "x"
    assert shared.read_text() == "resources: [a]\n"


# --- overlay -----------------------------------------------------------------------------------


def test_single_values_replace_the_authors(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\nNamespace: old\nbuildMetadata: [x]\n"})
    spec = BuildSpec(
        target_namespace="new",
        name_prefix="a-",
        name_suffix="-z",
        build_metadata=("transformerAnnotations",),
    )

    content = _generated(tree, spec)

    assert content["Namespace"] == "new"
    assert "namespace" not in content
    assert (content["namePrefix"], content["nameSuffix"]) == ("a-", "-z")
    assert content["buildMetadata"] == ["transformerAnnotations"]


def test_patches_are_added_after_the_authors(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\nPatches: [{path: p.yaml}]\n"})
    spec = BuildSpec(
        patches=(
            Patch(patch="a: 1\n"),
            Patch(patch="[]", target=Selector(kind="Deployment", label_selector="a=b")),
        )
    )

    assert _generated(tree, spec)["Patches"] == [
        {"path": "p.yaml"},
        {"patch": "a: 1\n"},
        {"patch": "[]", "target": {"kind": "Deployment", "labelSelector": "a=b"}},
    ]


def test_images_are_merged_by_name(make_tree: MakeTree) -> None:
    tree = make_tree(
        {
            "kustomization.yaml": "resources: [a]\n"
            "images:\n"
            "- {name: tag, newTag: '1', newName: keep}\n"
            "- {Name: digest, digest: 'sha256:1'}\n"
            "- {name: name, newTag: '1'}\n"
            "- {name: untouched}\n"
        }
    )
    spec = BuildSpec(
        images=(
            Image(name="tag", new_tag="2"),
            Image(name="digest", new_tag="2"),
            Image(name="name", new_name="other"),
            Image(name="new", digest="sha256:9"),
        )
    )

    assert _generated(tree, spec)["images"] == [
        {"name": "tag", "newTag": "2", "newName": "keep"},
        {"Name": "digest", "newTag": "2"},
        {"name": "name", "newTag": "1", "newName": "other"},
        {"name": "untouched"},
        {"name": "new", "digest": "sha256:9"},
    ]


def test_components_are_added_and_missing_ones_dropped_if_wanted(make_tree: MakeTree) -> None:
    files = {"apps/kustomization.yaml": "resources: [a]\ncomponents: [own]\n", "shared/x": ""}
    tree = make_tree(files)
    components = ("../shared", "../missing")

    all_of_them = _generated(tree, BuildSpec(path="apps", components=components))["components"]
    (tree / "apps/kustomization.yaml").write_text(files["apps/kustomization.yaml"])
    spec = BuildSpec(path="apps", components=components, ignore_missing_components=True)

    assert all_of_them == ["own", "../shared", "../missing"]
    assert _generated(tree, spec)["components"] == ["own", "../shared"]


@pytest.mark.parametrize(
    "component",
    [
        "/abs",
        "git::https://x/y",
        "https://x/y",
        "HTTPS://x/y",
        "ssh://x/y",
        "git@github.com:x/y",
        "github.com/x/y",
        "gh:x/y",
        "file:///x",
    ],
)
def test_remote_and_absolute_components_are_refused(make_tree: MakeTree, component: str) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\n"})

    with pytest.raises(RefusedInput, match="must be a path in the artifact"):
        generate(tree, BuildSpec(components=(component,)))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("ignore", [True, False])
def test_components_outside_the_artifact_are_refused_whether_they_are_there_or_not(
    make_tree: MakeTree, *, ignore: bool, there: bool
) -> None:
    """Dropping only those that are missing would tell what files the machine has."""
    tree = make_tree({"apps/kustomization.yaml": "resources: [a]\n"})
    component = "../../" + ("x/.." if there else "missing")
    spec = BuildSpec(path="apps", components=(component,), ignore_missing_components=ignore)

    with pytest.raises(RefusedInput, match="is outside the artifact"):
        generate(tree, spec)


def test_a_field_of_the_wrong_type_is_an_error(make_tree: MakeTree) -> None:
    tree = make_tree({"kustomization.yaml": "resources: [a]\npatches: text\n"})

    with pytest.raises(KustomizeError, match=r"^kustomization\.yaml: patches must be a list"):
        generate(tree, BuildSpec(patches=(Patch(patch="a"),)))


# --- the spec ----------------------------------------------------------------------------------


def test_digests_tell_specs_apart() -> None:
    specs = [
        BuildSpec(),
        BuildSpec(path="a"),
        BuildSpec(name_prefix="a"),
        BuildSpec(name_suffix="a"),
        BuildSpec(patches=(Patch(patch="a"),)),
        BuildSpec(components=("a",)),
        BuildSpec(components=("a",), ignore_missing_components=True),
    ]

    assert len({spec.digest() for spec in specs}) == len(specs)
    assert BuildSpec(path="a").digest() == BuildSpec(path="a").digest()
