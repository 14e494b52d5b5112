"""Steps are few, told once, and say nothing secret; outputs are bounded and never a failure."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fluvial.apply.masking import Masker
from fluvial.apply.model import Owner, Target
from fluvial.clock import RealClock
from fluvial.helm.cluster import Located
from fluvial.helm.output import outputs_of
from fluvial.helm.steps import ActionLog, HookOutput
from fluvial.kube.client import ListPage
from fluvial.kube.errors import BadRequest, Forbidden
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

_JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
_SECRET = "s3cr3t-of-many-letters"


class _Pods:
    """A server with pods that have written something."""

    def __init__(self, text: str | Exception, *, pods: int = 1, containers: int = 1) -> None:
        self._text = text
        self._pods = pods
        self._containers = containers
        self.asked = 0

    async def list_page(self, _: Resource, *, limit: int, **__: Any) -> ListPage:
        listed = [{"name": f"c{n}"} for n in range(self._containers)]
        pods: list[JsonObject] = [
            {"metadata": {"namespace": "apps", "name": f"p{n}"}, "spec": {"containers": listed}}
            for n in range(self._pods)
        ]
        going = {"namespace": "apps", "name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}
        pods.insert(0, {"metadata": going, "spec": {"containers": listed}})
        assert limit < 10
        return ListPage(pods, "1")

    async def pod_log(
        self, key: ObjectKey, *, container: str, tail_lines: int, limit_bytes: int
    ) -> str:
        self.asked += 1
        assert key.namespace == "apps"
        assert key.name != "old"
        assert container
        assert tail_lines <= 20
        if isinstance(self._text, asyncio.Event):
            await self._text.wait()
        if isinstance(self._text, Exception):
            raise self._text
        return self._text.encode()[:limit_bytes].decode()


def _target(client: Any = None) -> Target:
    owner = Owner("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "app")
    mapper = cast("Any", None)
    return Target(client, mapper, owner, masker=Masker([_SECRET]), clock=RealClock())


async def _outputs(client: Any) -> list[HookOutput]:
    ref = ObjectRef("batch", "Job", "apps", "j")
    located = Located({"kind": "Job"}, ref, _JOBS, ObjectKey("apps", "j"))
    return await outputs_of(_target(client), "test hook t.yaml", [located])


def test_ten_steps_are_kept_and_equal_ones_told_once() -> None:
    log = ActionLog(_target())
    for number in range(12):
        log.add(f"step {number}")
    for _ in range(3):
        log.add(f"applied ConfigMap/apps/{_SECRET}")
    log.add("x" * 10_000)

    lines = str(log).splitlines()
    assert len(lines) == 11
    assert lines[0].endswith("Z step 4")
    assert lines[-3].endswith("Z applied ConfigMap/apps/***")
    assert lines[-2].endswith("Z (2 duplicate line(s) omitted)")
    assert len(lines[-1]) < 400
    assert _SECRET not in log.after("failed")


def test_without_steps_a_message_is_as_it_was() -> None:
    assert ActionLog(_target()).after("failed") == "failed"


async def test_pods_containers_and_bytes_are_bounded() -> None:
    server = _Pods("line\n" * 100_000, pods=9, containers=9)
    found = await _outputs(server)

    assert len(found) == server.asked == 15
    assert all(len(one.text) <= 4096 for one in found)
    log = ActionLog(_target())
    for one in found:
        log.keep(one)
    assert len(log.outputs) == 10


@pytest.mark.parametrize("at", [4096 - 5, 4096 - len(_SECRET), 4096])
async def test_a_secret_is_masked_where_the_text_is_cut(at: int) -> None:
    text = "first\n" + "." * (at - 6) + _SECRET + "\nmore"
    (found,) = await _outputs(_Pods(text))

    assert found.text == "first"


async def test_control_characters_do_not_hide_a_secret() -> None:
    (found,) = await _outputs(_Pods(f"a\t{_SECRET[:4]}\x1b{_SECRET[4:]}\r\nb\x00"))

    assert found.text == "a\t***\nb"
    assert _SECRET not in repr(found)


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        (_Pods(BadRequest(f"pod {_SECRET} has no host")), "(not to be had: pod *** has no host)"),
        (_Pods(Forbidden("no")), "(not to be had: no)"),
        (_Pods(""), "(nothing)"),
    ],
    ids=["no-node", "forbidden", "empty"],
)
async def test_what_cannot_be_had_is_told(server: _Pods, shown: str) -> None:
    (found,) = await _outputs(server)

    assert str(found) == f"test hook t.yaml, pod p0, container c0:\n{shown}"


@pytest.mark.looptime
async def test_a_server_that_never_answers_costs_ten_seconds() -> None:
    before = asyncio.get_running_loop().time()
    (found,) = await _outputs(_Pods(cast("Any", asyncio.Event())))

    assert found.problem == "the server took too long"
    assert asyncio.get_running_loop().time() - before == pytest.approx(10.0, abs=0.1)
