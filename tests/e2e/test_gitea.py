"""A real Gitea: its webhook wakes the source, and it shows what became of the commit.

Of its repository one Kustomization is the application, and one is a preview of a pull request: it
says by annotations which commit and which request it is about.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import ready_condition, wait_for
from githosts.gitea import USER, Gitea
from gitservers.repos import Repo

_SECRET = "between Gitea and us"
_SECONDS = 60.0
_BROKEN: dict[str, str | None] = {"deploy/app.yaml": "kind: ConfigMap\nmetadata: [\n"}
_EVENTS = "event.toolkit.fluxcd.io"
_REPOSITORY = f"/repos/{USER}/app"


@dataclass(frozen=True, slots=True)
class World:
    """A cluster, and a Gitea with one repository."""

    client: KubeClient
    gitea: Gitea
    repo: Repo

    async def apply(
        self,
        resource: Resource,
        name: str,
        annotations: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Server-side apply in the namespace ``default``."""
        metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
        head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        await self.client.apply(
            resource, ObjectKey("default", name), {**head, **fields}, field_manager="test"
        )

    async def statuses(self, commit: str, name: str) -> list[tuple[str, str]]:
        """What Gitea shows of a commit by a Kustomization, oldest first."""
        listed = await self.gitea.api("GET", f"{_REPOSITORY}/commits/{commit}/statuses")
        mine = [one for one in listed if one["context"].startswith(f"kustomization/{name}/")]
        assert all(one["creator"]["login"] == USER for one in mine)
        assert len({one["context"] for one in mine}) <= 1
        mine.sort(key=lambda one: int(one["id"]))
        return [(one["status"], one["description"]) for one in mine]

    async def shows(self, commit: str, name: str, *wanted: tuple[str, str]) -> None:
        """Wait until Gitea shows these statuses and no others."""
        found: list[tuple[str, str]] = []
        try:
            async with asyncio.timeout(_SECONDS):
                while (found := await self.statuses(commit, name)) != list(wanted):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"Gitea shows {found}, and not {wanted}") from None

    async def comment(self, holds: Callable[[str], bool]) -> JsonObject:
        """The only comment of the pull request, once something holds of its text."""
        async with asyncio.timeout(_SECONDS):
            while True:
                listed: list[JsonObject] = await self.gitea.api(
                    "GET", f"{_REPOSITORY}/issues/1/comments"
                )
                assert len(listed) <= 1
                if listed and holds(listed[0]["body"]):
                    return listed[0]
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_from_a_push_to_gitea_to_the_status_that_it_shows(tmp_path: Path) -> None:
    async with (
        Gitea.start(tmp_path / "gitea") as gitea,
        dev.dev_environment(dev.DevOptions(folder=tmp_path / "dev")) as environment,
    ):
        world = World(environment.client, gitea, Repo(tmp_path / "git", "app.git"))
        await _a_repository(world)
        await _told_to_gitea(world)  # long before it matters, for watches take their time
        await _a_source_that_gitea_wakes(world, environment.folder)

        pushed = world.repo.commit(_files("two"))
        await _is_applied(world, "two")
        done = ("success", "reconciliation succeeded")
        await world.shows(pushed, "app", done)

        await _a_preview(world, pushed)
        await world.shows(pushed, "preview", ("pending", "progressing"), done)
        first = await world.comment(lambda text: "ConfigMap/preview/settings created" in text)

        broken = world.repo.commit(_BROKEN)
        await world.shows(broken, "app", ("failure", "build failed"))
        edited = await world.comment(lambda text: "BuildFailed" in text)
        assert edited["id"] == first["id"]
        assert edited["user"]["login"] == USER
        combined = await gitea.api("GET", f"{_REPOSITORY}/commits/{broken}/status")
        assert combined["state"] == "failure"


async def _a_repository(world: World) -> None:
    """With a branch that a pull request is about."""
    gitea, repo = world.gitea, world.repo
    await gitea.api("POST", "/user/repos", {"name": "app", "private": True}, status=201)
    repo.mirror(gitea.remote(f"{USER}/app"))
    repo.commit(_files("one"))
    repo.branch("change")
    repo.commit(_files("other"))
    repo.branch("main")
    request = {"head": "change", "base": "main", "title": "Change"}
    made = await gitea.api("POST", f"{_REPOSITORY}/pulls", request, status=201)
    assert made["number"] == 1


async def _a_source_that_gitea_wakes(world: World, folder: Path) -> None:
    login = {"username": USER, "password": world.gitea.token, "token": _SECRET}
    await world.apply(kinds.SECRET, "app", stringData=login)
    source = {
        "url": f"{world.gitea.url}/{USER}/app.git",
        "interval": "1h",
        "ref": {"branch": "main"},
        "secretRef": {"name": "app"},
    }
    await world.apply(kinds.GIT_REPOSITORY, "app", spec=source)
    receiver = {
        "type": "github",
        "events": ["push"],
        "secretRef": {"name": "app"},
        "resources": [{"kind": "GitRepository", "name": "app"}],
    }
    await world.apply(kinds.RECEIVER, "app", spec=receiver)
    await world.apply(kinds.KUSTOMIZATION, "app", spec=_kustomization("default"))
    await _is_applied(world, "one")
    ready = await wait_for(
        world.client, kinds.RECEIVER, ObjectKey("default", "app"), until=_is_ready
    )
    config = {
        "url": f"http://{_receiver_address(folder)}{ready['status']['webhookPath']}",
        "content_type": "json",
        "secret": _SECRET,
    }
    hook = {"type": "gitea", "active": True, "events": ["push"], "config": config}
    await world.gitea.api("POST", f"{_REPOSITORY}/hooks", hook, status=201)


async def _told_to_gitea(world: World) -> None:
    await world.apply(kinds.SECRET, "gitea", stringData={"token": world.gitea.token})
    for type_ in ("gitea", "giteapullrequestcomment"):
        provider = {
            "type": type_,
            "address": f"{world.gitea.url}/{USER}/app",
            "secretRef": {"name": "gitea"},
        }
        await world.apply(kinds.PROVIDER, type_, spec=provider)
        sources = [{"kind": "Kustomization", "name": "*"}]
        alert = {"providerRef": {"name": type_}, "eventSources": sources}
        await world.apply(kinds.ALERT, type_, spec=alert)


async def _a_preview(world: World, commit: str) -> None:
    annotations = {f"{_EVENTS}/commit": commit, f"{_EVENTS}/change_request": "1"}
    await world.apply(kinds.NAMESPACE, "preview")
    await world.apply(kinds.KUSTOMIZATION, "preview", annotations, spec=_kustomization("preview"))


def _kustomization(namespace: str) -> JsonObject:
    return {
        "interval": "1h",
        "path": "./deploy",
        "prune": True,
        "targetNamespace": namespace,
        "sourceRef": {"kind": "GitRepository", "name": "app"},
    }


def _files(value: str) -> dict[str, str | None]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value}}}\n"
    return {"deploy/app.yaml": text}


def _receiver_address(folder: Path) -> str:
    """Where the controller takes calls, as its line ``ready`` says."""
    log = (folder / "logs" / "notification-controller.log").read_bytes().splitlines()
    address: str = json.loads(next(line for line in log if dev.says_ready(line)))["receiverAddr"]
    return address


def _is_ready(obj: JsonObject) -> bool:
    return ready_condition(obj).get("status") == "True"


async def _is_applied(world: World, value: str) -> None:
    await wait_for(
        world.client,
        kinds.CONFIG_MAP,
        ObjectKey("default", "settings"),
        until=lambda obj: bool(obj["data"] == {"a": value}),
    )
