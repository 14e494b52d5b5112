"""Every field that changes the build, seen in the cluster."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
AUTOSCALERS = Resource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True
)
OWNER = "kustomize.toolkit.fluxcd.io"
DIGEST = "sha256:" + "a" * 64


def labelled(name: str, *, namespace: str = "team", **metadata: Any) -> str:
    """A ConfigMap with further metadata."""
    obj = orjson.loads(configmap(name, namespace))
    obj["metadata"].update(metadata)
    return orjson.dumps(obj).decode()


def autoscaler(name: str, version: str) -> str:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return orjson.dumps(
        {
            "apiVersion": f"autoscaling/{version}",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": target},
        }
    ).decode()


@pytest.mark.shows("field:Kustomization/spec.targetNamespace")
async def test_objects_go_to_the_target_namespace_whatever_they_say(world: Harness) -> None:
    without = configmap("bare").replace('"namespace": "team"', '"labels": {}')
    revision = await world.source({"a.yaml": without, "b.yaml": configmap("b", "elsewhere")})
    await world.kustomization(targetNamespace="team")
    done = await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "bare")
    assert await world.exists(CONFIG_MAPS, "b")
    ids = [e["id"] for e in done["status"]["inventory"]["entries"]]
    assert ids == ["team_b__ConfigMap", "team_bare__ConfigMap"]


async def test_the_target_namespace_is_not_made(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(targetNamespace="nowhere", serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    assert "nowhere" in ready_of(failed)["message"]


async def test_a_target_namespace_gives_no_rights_in_it(world: Harness) -> None:
    await world.tenant("other")
    await world.source({"a.yaml": configmap()})
    await world.kustomization(targetNamespace="other")
    failed = await world.failed("ReconciliationFailed")

    assert "system:serviceaccount:team:deployer" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings", "other")


@pytest.mark.shows("field:Kustomization/spec.namePrefix", "field:Kustomization/spec.nameSuffix")
async def test_names_get_their_affixes_and_references_follow(world: Harness) -> None:
    web = orjson.loads(deployment())
    source = {"configMapRef": {"name": "settings"}}
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [source]
    revision = await world.source({"a.yaml": configmap(), "d.yaml": orjson.dumps(web).decode()})
    await world.kustomization(namePrefix="blue-", nameSuffix="-v2")
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "blue-settings-v2")
    assert not await world.exists(CONFIG_MAPS, "settings")
    made = await world.get(DEPLOYMENTS, "blue-web-v2")
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"configMapRef": {"name": "blue-settings-v2"}}]


@pytest.mark.shows("field:Kustomization/spec.patches[].patch")
async def test_a_strategic_patch_finds_its_object_by_its_own_name(world: Harness) -> None:
    """Containers are merged by name, and the other object is left as it is."""
    patch = deployment().replace("example.com/app:1", "example.com/app:2")
    revision = await world.source({"a.yaml": deployment(), "b.yaml": deployment("other")})
    await world.kustomization(patches=[{"patch": patch}])
    await world.applied(revision)

    assert image_of(await world.get(DEPLOYMENTS, "web")) == "example.com/app:2"
    assert image_of(await world.get(DEPLOYMENTS, "other")) == "example.com/app:1"


async def test_patches_follow_those_of_the_file_in_their_order(world: Harness) -> None:
    root = KUSTOMIZATION + "resources: [a.yaml]\npatches:\n- patch: |\n    {}\n".format(
        '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings",'
        ' "namespace": "team"}, "data": {"k": "file", "file": "kept"}}'
    )
    target = {"kind": "ConfigMap"}
    patches = [
        {"patch": '[{"op": "replace", "path": "/data/k", "value": "first"}]', "target": target},
        {
            "patch": '[{"op": "test", "path": "/data/k", "value": "first"}, '
            '{"op": "replace", "path": "/data/k", "value": "last"}]',
            "target": target,
        },
    ]
    revision = await world.source({"kustomization.yaml": root, "a.yaml": configmap()})
    await world.kustomization(patches=patches)
    await world.applied(revision)

    assert (await world.get(CONFIG_MAPS, "settings"))["data"] == {"k": "last", "file": "kept"}


BOTH = {"a.yaml": labelled("hit"), "b.yaml": labelled("miss")}
TARGETS: dict[str, tuple[dict[str, str], dict[str, str], Resource, tuple[str, str]]] = {
    "group": (
        {"a.yaml": deployment("hit"), "b.yaml": labelled("hit")},
        {"group": "apps"},
        DEPLOYMENTS,
        ("hit", "team"),
    ),
    "version": (
        {"a.yaml": autoscaler("hit", "v2"), "b.yaml": autoscaler("miss", "v1")},
        {"version": "v2"},
        AUTOSCALERS,
        ("hit", "team"),
    ),
    "kind": (
        {"a.yaml": labelled("hit"), "b.yaml": deployment("miss")},
        {"kind": "ConfigMap"},
        CONFIG_MAPS,
        ("hit", "team"),
    ),
    "name": (BOTH, {"name": "hit"}, CONFIG_MAPS, ("hit", "team")),
    "name by pattern": (BOTH, {"name": "h.t"}, CONFIG_MAPS, ("hit", "team")),
    "namespace": (
        {"a.yaml": labelled("hit"), "b.yaml": labelled("hit", namespace="other")},
        {"namespace": "team"},
        CONFIG_MAPS,
        ("hit", "team"),
    ),
    "labelSelector": (
        {"a.yaml": labelled("hit", labels={"tier": "web"}), "b.yaml": labelled("miss")},
        {"labelSelector": "tier in (web, db)"},
        CONFIG_MAPS,
        ("hit", "team"),
    ),
    "annotationSelector": (
        {"a.yaml": labelled("hit", annotations={"zone": "a"}), "b.yaml": labelled("miss")},
        {"annotationSelector": "zone=a"},
        CONFIG_MAPS,
        ("hit", "team"),
    ),
}


@pytest.mark.shows(
    "field:Kustomization/spec.patches[].target.group",
    "field:Kustomization/spec.patches[].target.version",
    "field:Kustomization/spec.patches[].target.kind",
    "field:Kustomization/spec.patches[].target.name",
    "field:Kustomization/spec.patches[].target.namespace",
    "field:Kustomization/spec.patches[].target.labelSelector",
    "field:Kustomization/spec.patches[].target.annotationSelector",
)
@pytest.mark.parametrize("selector", TARGETS)
async def test_a_json_patch_goes_to_what_its_target_selects(world: Harness, selector: str) -> None:
    files, target, resource, (name, namespace) = TARGETS[selector]
    await world.tenant("other")
    patch = '[{"op": "add", "path": "/metadata/labels/patched", "value": "yes"}]'
    labels = '[{"op": "add", "path": "/metadata/labels", "value": {}}]'
    if selector != "labelSelector":
        patch = labels[:-1] + ", " + patch[1:]
    revision = await world.source(files)
    await world.kustomization(serviceAccountName=None, patches=[{"patch": patch, "target": target}])
    await world.applied(revision)

    patched = await _patched(world)
    assert patched == [(resource.kind, namespace, name)]


async def _patched(world: Harness) -> list[tuple[str, str, str]]:
    return [
        (resource.kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        for resource in (CONFIG_MAPS, DEPLOYMENTS, AUTOSCALERS)
        for obj in (await world.client.list_all(resource)).items
        if "patched" in obj["metadata"].get("labels", {})
    ]


IMAGES: dict[str, tuple[dict[str, str], str]] = {
    "newName": ({"newName": "mirror.example.com/app"}, "mirror.example.com/app:1"),
    "newTag": ({"newTag": "2"}, "example.com/app:2"),
    "digest": ({"digest": DIGEST}, f"example.com/app@{DIGEST}"),
    "all": (
        {"newName": "mirror.example.com/app", "digest": DIGEST, "newTag": "2"},
        f"mirror.example.com/app:2@{DIGEST}",
    ),
}


@pytest.mark.shows(
    "field:Kustomization/spec.images[].name",
    "field:Kustomization/spec.images[].newName",
    "field:Kustomization/spec.images[].newTag",
    "field:Kustomization/spec.images[].digest",
)
@pytest.mark.parametrize("case", IMAGES)
async def test_images_are_replaced_by_name(world: Harness, case: str) -> None:
    image, expected = IMAGES[case]
    other = deployment("other").replace("example.com/app:1", "example.com/other:1")
    revision = await world.source({"a.yaml": deployment(), "b.yaml": other})
    await world.kustomization(images=[{"name": "example.com/app"} | image])
    await world.applied(revision)

    assert image_of(await world.get(DEPLOYMENTS, "web")) == expected
    assert image_of(await world.get(DEPLOYMENTS, "other")) == "example.com/other:1"


async def test_an_image_of_the_file_is_merged_with_that_of_the_spec(world: Harness) -> None:
    """Its name stays where the spec names none; tag and digest are replaced as one."""
    root = KUSTOMIZATION + (
        "resources: [a.yaml]\nimages:\n- name: example.com/app\n"
        f"  newName: file.example.com/app\n  digest: {DIGEST}\n"
    )
    revision = await world.source({"kustomization.yaml": root, "a.yaml": deployment()})
    await world.kustomization(images=[{"name": "example.com/app", "newTag": "3"}])
    await world.applied(revision)

    assert image_of(await world.get(DEPLOYMENTS, "web")) == "file.example.com/app:3"


COMPONENTS = {
    "app/kustomization.yaml": KUSTOMIZATION + "resources: [a.yaml]\n",
    "app/a.yaml": configmap(),
    "extra/kustomization.yaml": COMPONENT + "resources: [b.yaml]\nnamePrefix: x-\n",
    "extra/b.yaml": configmap("b"),
}


@pytest.mark.shows("field:Kustomization/spec.components[]")
async def test_components_are_added_to_the_build(world: Harness) -> None:
    """A component works on everything before it, unlike a base."""
    revision = await world.source(COMPONENTS)
    await world.kustomization(path="./app", components=["../extra"])
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "x-settings")
    assert await world.exists(CONFIG_MAPS, "x-b")


@pytest.mark.shows("field:Kustomization/spec.ignoreMissingComponents")
@pytest.mark.parametrize("ignore", [True, False, None])
async def test_missing_components_fail_unless_ignored(
    world: Harness, *, ignore: bool | None
) -> None:
    revision = await world.source(COMPONENTS)
    await world.kustomization(
        path="./app", components=["../gone", "../extra"], ignoreMissingComponents=ignore
    )
    if ignore:
        await world.applied(revision)
        assert await world.exists(CONFIG_MAPS, "x-settings")
        return
    failed = await world.failed("BuildFailed")

    assert "gone" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.parametrize("path", ["/etc", "https://example.com/x", "git@example.com:x/y"])
async def test_components_are_local(world: Harness, path: str) -> None:
    """Also where missing ones are ignored."""
    await world.source(COMPONENTS)
    await world.kustomization(path="./app", components=[path], ignoreMissingComponents=True)
    failed = await world.failed("BuildFailed")

    assert path in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.parametrize("there", [True, False])
async def test_nothing_outside_the_artifact_is_a_component(world: Harness, *, there: bool) -> None:
    """Whether or not it exists: the answer must not tell."""
    await world.source(COMPONENTS)
    outside = world.folder / "outside"
    if there:
        outside.mkdir()
        (outside / "kustomization.yaml").write_text(COMPONENT + "namePrefix: evil-\n")
    path = "../" * 30 + str(outside).lstrip("/")
    await world.kustomization(path="./app", components=[path], ignoreMissingComponents=True)
    failed = await world.failed("BuildFailed")

    assert "is outside the artifact" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows("field:Kustomization/spec.buildMetadata[]")
async def test_build_metadata_tells_where_an_object_came_from(world: Harness) -> None:
    root = KUSTOMIZATION + "resources: [a.yaml]\nnamePrefix: x-\nbuildMetadata: [managedByLabel]\n"
    revision = await world.source({"kustomization.yaml": root, "a.yaml": configmap()})
    await world.kustomization(buildMetadata=["originAnnotations", "transformerAnnotations"])
    await world.applied(revision)

    metadata = (await world.get(CONFIG_MAPS, "x-settings"))["metadata"]
    assert "path: a.yaml" in metadata["annotations"]["config.kubernetes.io/origin"]
    transformations = metadata["annotations"]["alpha.config.kubernetes.io/transformations"]
    assert "PrefixTransformer" in transformations
    assert "app.kubernetes.io/managed-by" not in metadata["labels"]
    assert str(world.folder) not in str(metadata)


@pytest.mark.shows(
    "field:Kustomization/spec.commonMetadata.labels",
    "field:Kustomization/spec.commonMetadata.annotations",
)
async def test_common_metadata_is_laid_over_every_object(world: Harness) -> None:
    files = {
        "a.yaml": labelled("a", labels={"tier": "old", "own": "kept"}),
        "d.yaml": deployment(note="old"),
    }
    revision = await world.source(files)
    common = {"labels": {"tier": "new"}, "annotations": {"note": "new"}}
    await world.kustomization(commonMetadata=common)
    await world.applied(revision)

    made = (await world.get(CONFIG_MAPS, "a"))["metadata"]
    owner = {f"{OWNER}/name": "app", f"{OWNER}/namespace": "team"}
    assert made["labels"] == {"tier": "new", "own": "kept"} | owner
    assert made["annotations"] == {"note": "new"}
    web = await world.get(DEPLOYMENTS, "web")
    assert web["metadata"]["annotations"]["note"] == "new"
    assert web["metadata"]["labels"] == {"tier": "new"} | owner
    assert web["spec"]["template"]["metadata"]["labels"] == {"app": "web"}


@pytest.mark.parametrize("label", ["name", "namespace"])
async def test_common_metadata_cannot_change_the_owner(world: Harness, label: str) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(commonMetadata={"labels": {f"{OWNER}/{label}": "other"}})
    failed = await world.failed("ReconciliationFailed")

    assert f"{OWNER}/{label}" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows("field:Kustomization/spec.sourceRef.apiVersion")
@pytest.mark.parametrize(
    "version", [None, "source.toolkit.fluxcd.io/v1", "source.toolkit.fluxcd.io/v1beta2"]
)
async def test_a_source_is_found_whatever_version_names_it(
    world: Harness, version: str | None
) -> None:
    """Objects written for older versions go on: what is read is the version that is served."""
    revision = await world.source({"a.yaml": configmap()})
    reference = {"kind": "GitRepository", "name": "src"} | (
        {"apiVersion": version} if version else {}
    )
    await world.kustomization(sourceRef=reference)
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "settings")


def image_of(obj: JsonObject) -> str:
    """The image of a Deployment's first container."""
    return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])
