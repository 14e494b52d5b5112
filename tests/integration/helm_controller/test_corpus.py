"""Real charts live a whole life as HelmReleases: installed, upgraded with one value changed, gone.

All of them stand in one namespace and go each to one of their own, several at once. Kinds that no
chart brings have definitions that take everything, and what Flux would have substituted in values
is. Where the server refuses one nevertheless, Helm's own tool must be refused as well. One in twenty-eight on devcluster by default; ``FLUVIAL_CORPUS=all`` takes every
one, on both control planes. They change the whole cluster, so that they have one of their own.
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import corpus
from controlplane.build import Binaries
from controlplane.start import ControlPlane
from controlplane.workloads import workloads
from devcluster import DevCluster, Options
from fluvial.apply import decode_id
from fluvial.apply.bounded import map_bounded
from fluvial.build import yaml
from fluvial.kube import kinds
from fluvial.kube.discovery import NoMatch, RestMapper
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef
from harness.helm import helm_sdk, need_helm
from harness.release import ReleaseWorld
from harness.team import MANAGER, Team, condition, named, newest

_ALL = os.environ.get("FLUVIAL_CORPUS") == "all"
_EVERY = {"charts": 28, "helmreleases": 28}
_AT_ONCE = 8
_COUNTS = ("replicaCount", "replicas")
_REFERENCE = "HelmChart"
_VARIABLE = re.compile(r"\$\{[A-Za-z0-9_]+(?::[-=]([^}]*))?\}")
_VALUE = "example.com"
_GROUP = re.compile(r"^  group: [\"']?([a-z0-9.-]+)", re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900 if _ALL else 120),
]


@dataclass(frozen=True, slots=True)
class Case:
    """A chart, the values that somebody gives it, and the same with one changed.

    Attributes:
        name: of the HelmRelease, and of everything else.
        namespace: that it is released to.
        objects_of: what the chart gives, according to the corpus.
        refused: by whom and why it is not, ``""`` if it is.

    """

    name: str
    namespace: str
    version: str
    archive: bytes
    values: JsonObject
    changed: JsonObject
    objects_of: tuple[JsonObject, ...] = ()
    refused: str = ""
    objects: tuple[ObjectRef, ...] = ()


# --- the cases -----------------------------------------------------------------------------------


def _folders() -> Iterator[Path]:
    for folder, step in _EVERY.items():
        found = sorted(one for one in corpus.require(folder).iterdir() if one.name[0] != "_")
        yield from found if _ALL else found[::step]


def _packed(folder: Path) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=folder.name)
    return target.getvalue()


def _case(number: int, folder: Path) -> Case:
    source = yaml.load_one((folder / "SOURCE").read_bytes())
    values: JsonObject = {}
    if "chart_dir" in source:
        archive, version = _packed(folder / source["chart_dir"]), source["version"]
    else:
        archive = (folder / source["chart_archive"]).read_bytes()
        version = source["chart_version_used"]
        text = (folder / "helmrelease.yaml").read_text()
        release = yaml.load_one(_VARIABLE.sub(lambda found: found[1] or _VALUE, text).encode())
        values = release["spec"].get("values") or {}
    changed = _with_one_changed(values, _defaults(archive))
    name = f"case-{number}"
    expected = (folder / "expected.jsonl").read_text().splitlines()
    found = (json.loads(line) for line in expected)
    objects = tuple(obj for obj in found if obj.get("kind") and obj.get("apiVersion"))
    return Case(name, f"corpus-{number}", str(version), archive, values, changed, objects)


def _defaults(archive: bytes) -> JsonObject:
    return _file_of(archive, "values.yaml")


def _is_library(case: Case) -> bool:
    """Helm's command refuses these, the library call that plays its part here does not."""
    return _file_of(case.archive, "Chart.yaml").get("type") == "library"


def _file_of(archive: bytes, name: str) -> JsonObject:
    """A YAML file at the top of a chart, empty if it is not there."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened.getmembers():
            if member.name.count("/") == 1 and member.name.endswith(f"/{name}"):
                content = opened.extractfile(member)
                assert content is not None
                found: JsonObject = yaml.load_one(content.read()) or {}
                return found
    return {}


def _with_one_changed(values: JsonObject, defaults: JsonObject) -> JsonObject:
    """A number of replicas, else a tag of an image, else something that nothing reads."""
    changed = copy.deepcopy(values)
    for key in _COUNTS:
        now = values.get(key, defaults.get(key))
        if isinstance(now, int):
            return {**changed, key: now + 1}
    for given in (changed, defaults):
        path = _path_of_tag(given)
        if path:
            place = changed
            for step in path:
                place = place.setdefault(step, {})
            place["tag"] = "9.9.9"
            return changed
    return {**changed, "global": {**(changed.get("global") or {}), "unread": "value"}}


def _path_of_tag(values: JsonObject) -> tuple[str, ...]:
    """Where ``image.tag`` is, through maps only; empty if nowhere."""
    for key, value in values.items():
        if not isinstance(value, dict):
            continue
        if key == "image" and isinstance(value.get("tag"), str):
            return (key,)
        if deeper := _path_of_tag(value):
            return (key, *deeper)
    return ()


# --- what they need ------------------------------------------------------------------------------


async def _prepare(world: ReleaseWorld, cases: list[Case]) -> None:
    """Namespaces, and definitions of kinds that nobody brings, which take everything."""
    brought = {group for case in cases for group in _groups_of(case)}
    namespaces = {case.namespace for case in cases}
    wanted: dict[tuple[str, str], set[str]] = {}
    for obj in (obj for case in cases for obj in case.objects_of):
        namespaces.add(str((obj.get("metadata") or {}).get("namespace") or "default"))
        group, _, version = str(obj["apiVersion"]).rpartition("/")
        if group not in brought and "." in group:
            wanted.setdefault((group, str(obj["kind"])), set()).add(version)
    for name in namespaces - {"demo"}:
        await _apply(world, kinds.NAMESPACE, named("v1", "Namespace", name))
    mapper = RestMapper(world.client)
    for (group, kind), versions in wanted.items():
        try:
            await mapper.resource_for_kind(group, kind)
        except NoMatch:
            await _apply(world, kinds.CRD, _definition(group, sorted(versions), kind))


async def _apply(world: ReleaseWorld, resource: Resource, obj: JsonObject) -> None:
    key = ObjectKey("", obj["metadata"]["name"])
    await world.client.apply(resource, key, obj, field_manager=MANAGER)


def _groups_of(case: Case) -> Iterator[str]:
    """Groups that a chart brings definitions of."""
    for obj in case.objects_of:
        if obj["kind"] == "CustomResourceDefinition":
            yield obj["spec"]["group"]
    with tarfile.open(fileobj=io.BytesIO(case.archive)) as opened:
        for member in opened.getmembers():
            if "/crds/" in member.name and (content := opened.extractfile(member)) is not None:
                yield from _GROUP.findall(content.read().decode(errors="replace"))


def _definition(group: str, versions: list[str], kind: str) -> JsonObject:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = [
        {
            "name": version,
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": schema},
        }
        for version in versions
    ]
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    obj = named("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}")
    if group.endswith(".k8s.io"):
        obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, for tests"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": served}
    return obj | {"spec": spec}


# --- the clusters --------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_devcluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReleaseWorld]:
    need_helm()
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(
            tmp_path_factory.mktemp("corpus"), cluster.kubeconfig(), cluster=cluster
        ) as world,
    ):
        await world.start_controller()
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_real(
    tmp_path_factory: pytest.TempPathFactory, control_plane_binaries: Binaries
) -> AsyncIterator[ReleaseWorld]:
    need_helm()
    if not _ALL:
        pytest.skip("FLUVIAL_CORPUS=all releases the corpus on the real control plane")
    async with (
        ControlPlane(binaries=control_plane_binaries) as plane,
        workloads(plane),
        ReleaseWorld.start(tmp_path_factory.mktemp("corpus"), plane.kubeconfig()) as world,
    ):
        await world.start_controller()
        yield world


# --- the lives -----------------------------------------------------------------------------------


async def test_lives_on_devcluster(on_devcluster: ReleaseWorld, tmp_path: Path) -> None:
    await _live(on_devcluster, tmp_path)


async def test_lives_on_the_real_control_plane(on_real: ReleaseWorld, tmp_path: Path) -> None:
    await _live(on_real, tmp_path)


async def _live(world: ReleaseWorld, folder: Path) -> None:
    team = await world.team(role="cluster-admin", everywhere=True)
    team.patience = 300.0  # many go at once
    cases = [_case(number, path) for number, path in enumerate(_folders())]
    await _prepare(world, cases)
    installed = await _each(team, cases, _install)
    await _nothing_is_missing(world, installed)
    upgraded = await _each(team, [one for one in installed if not one.refused], _upgrade)
    refused = [one for one in (*installed, *upgraded) if one.refused]
    await map_bounded(lambda case: _uninstall(team, case), installed, limit=_AT_ONCE, name="corpus")
    await _nothing_is_left(world, team, installed)
    # Names of the whole cluster may have been another's meanwhile: once more, alone.
    again = []
    for case in refused:
        tried = await _install(team, case)
        if not tried.refused and case.refused.startswith("upgrade"):
            tried = await _upgrade(team, tried)
        await _uninstall(team, case)
        again += [tried] if tried.refused else []
    wrong = await _refused_only_by_us(world, again, folder)
    assert not wrong, "\n".join(wrong)
    assert {case.name for case in cases if _is_library(case)} <= {case.name for case in again}
    assert len(again) < len(cases) / 2, [one.refused for one in again]


async def _each(team: Team, cases: list[Case], act: Any) -> list[Case]:
    done: dict[str, Case] = {}

    async def one(case: Case) -> None:
        done[case.name] = await act(team, case)

    await map_bounded(one, cases, limit=_AT_ONCE, name="corpus")
    return [done[case.name] for case in cases]


async def _release(team: Team, case: Case, values: JsonObject) -> None:
    await team.release(
        case.name,
        chartRef={"kind": _REFERENCE, "name": case.name},
        targetNamespace=case.namespace,
        releaseName=case.name,
        values=values,
        install={"disableWait": True},
        upgrade={"disableWait": True},
        uninstall={"disableWait": True},
    )


async def _settled(team: Team, case: Case, version: int) -> JsonObject:
    """The HelmRelease once it is Ready at a revision, or has given up."""

    def done(obj: JsonObject) -> bool:
        if condition(obj).get("observedGeneration") != obj["metadata"]["generation"]:
            return False
        is_ready = condition(obj).get("status") == "True" and not condition(obj, "Reconciling")
        return (is_ready and newest(obj).get("version") == version) or (
            condition(obj).get("status") == "False"
        )

    return await team.until(done, case.name)


async def _install(team: Team, case: Case) -> Case:
    case = replace(case, refused="")
    await team.chart(case.archive, case.version, resource=kinds.HELM_CHART, name=case.name)
    await _release(team, case, case.values)
    found = await _settled(team, case, 1)
    if condition(found)["status"] == "False":
        return replace(case, refused=f"install: {condition(found)['message']}")
    entries = (found["status"].get("inventory") or {}).get("entries") or []
    return replace(case, objects=tuple(decode_id(entry["id"]) for entry in entries))


async def _upgrade(team: Team, case: Case) -> Case:
    await _release(team, case, case.changed)
    found = await _settled(team, case, 2)
    if condition(found)["status"] == "False":
        return replace(case, refused=f"upgrade: {condition(found)['message']}")
    return case


async def _uninstall(team: Team, case: Case) -> None:
    await team.delete(case.name)
    await team.gone(case.name)
    assert await team.statuses(case.name) == {}


async def _there(world: ReleaseWorld, cases: list[Case]) -> dict[tuple[str, str], set[ObjectKey]]:
    """What is there of each kind that is in an inventory, but for what is being deleted."""
    mapper = RestMapper(world.client)
    found: dict[tuple[str, str], set[ObjectKey]] = {}
    wanted = {(ref.group, ref.kind) for case in cases for ref in case.objects}
    for group, kind in wanted:
        try:
            resource = await mapper.resource_for_kind(group, kind)
            page = await world.client.list_all(resource, metadata_only=True)
        except NotFound:
            found[group, kind] = set()
            continue
        found[group, kind] = {
            ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            for obj in page.items
            if "deletionTimestamp" not in obj["metadata"]
            and "helm.sh/resource-policy" not in (obj["metadata"].get("annotations") or {})
        }
    return found


def _keys(cases: list[Case]) -> Iterator[tuple[str, tuple[str, str], ObjectKey]]:
    for case in cases:
        for ref in case.objects:
            yield case.name, (ref.group, ref.kind), ObjectKey(ref.namespace, ref.name)


async def _nothing_is_missing(world: ReleaseWorld, cases: list[Case]) -> None:
    there = await _there(world, cases)
    kept = {
        (kind, key)
        for name, kind, key in _keys(cases)
        if key not in there[kind] and not await _is_kept(world, kind, key)
    }
    assert kept == set()


async def _is_kept(world: ReleaseWorld, kind: tuple[str, str], key: ObjectKey) -> bool:
    resource = await RestMapper(world.client).resource_for_kind(*kind)
    obj = await world.client.get(resource, key)
    return "helm.sh/resource-policy" in (obj["metadata"].get("annotations") or {})


async def _nothing_is_left(world: ReleaseWorld, team: Team, cases: list[Case]) -> None:
    there = await _there(world, cases)
    # Definitions in crds/ stay: Helm never deletes them.
    left = [
        (name, kind, key)
        for name, kind, key in _keys(cases)
        if key in there[kind] and kind[1] != kinds.CRD.kind
    ]
    assert left == []
    assert await team.names(kinds.SECRET) == set()


async def _refused_only_by_us(world: ReleaseWorld, refused: list[Case], folder: Path) -> list[str]:
    """What Helm's own tool would have released, a line each."""
    wrong: list[str] = []
    for case in refused:
        if _is_library(case):
            continue
        contexts = [
            {**entry, "context": {**entry["context"], "namespace": case.namespace}}
            for entry in world.kubeconfig["contexts"]
        ]
        kubeconfig = {**world.kubeconfig, "contexts": contexts}
        place = folder / f"{case.name}.tgz"
        place.write_bytes(case.archive)
        given = {"chart": str(place), "name": case.name}
        async with helm_sdk(kubeconfig, case.namespace, folder) as helm:
            answer = await helm.call("install", **given, values=case.values)
            if case.refused.startswith("upgrade") and "error" not in answer:
                answer = await helm.call("upgrade", **given, values=case.changed)
            if "error" not in answer:
                wrong.append(f"{case.name}: {case.refused}")
                await helm.call("uninstall", name=case.name)
    return wrong
