"""What the runtime relies on, asked of whichever API server a test class gives."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import pytest

from fluvial.clock import RealClock
from fluvial.kube.config import load_client
from fluvial.kube.errors import NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.kinds import CRD, EVENT, LEASE, NAMESPACE
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.guard import GuardedClient
from fluvial.runtime.leader import (
    ElectionTimes,
    ForeignHolder,
    LeaderElector,
    make_identity,
    refuse_foreign_holder,
)
from fluvial.runtime.patcher import StatusPatcher

WIDGET = Resource("test.fluvial.dev", "v1", "widgets", "Widget", namespaced=True)
CLOCK = RealClock()
SECONDS = 20.0
MANAGER = "gotk-test-controller"

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
WIDGETS: JsonObject = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.fluvial.dev"},
    "spec": {
        "group": WIDGET.group,
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": _OPEN,
                            "status": {**_OPEN, "default": {"observedGeneration": -1}},
                        },
                    }
                },
            }
        ],
    },
}


def condition(type_: str, status: str = "True", *, message: str = "") -> JsonObject:
    """A condition as it is on the wire."""
    return {
        "type": type_,
        "status": status,
        "reason": "R",
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }


def conditions_of(obj: JsonObject) -> list[tuple[str, str]]:
    """Types and statuses, in order."""
    return [(item["type"], item["status"]) for item in obj["status"].get("conditions", [])]


def changed(obj: JsonObject, **status: Any) -> JsonObject:
    """A copy with other status fields."""
    after = copy.deepcopy(obj)
    after.setdefault("status", {}).update(status)
    return after


class RuntimeScenarios:
    """Inherit and give the fixture ``kubeconfig``, the admin's, as data."""

    @pytest.fixture
    async def admin(self, kubeconfig: JsonObject, tmp_path: Path) -> AsyncIterator[HttpKubeClient]:
        path = tmp_path / "kubeconfig"
        path.write_bytes(orjson.dumps(kubeconfig))  # JSON is YAML
        async with await load_client(kubeconfig=path, user_agent="fluvial-test", environ={}) as c:
            yield c

    @pytest.fixture
    async def namespace(self, admin: HttpKubeClient) -> AsyncIterator[str]:
        name = f"runtime-{uuid4().hex[:8]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await admin.create(NAMESPACE, body, field_manager="test")
        yield name
        await admin.delete(NAMESPACE, ObjectKey("", name))

    @pytest.fixture
    async def writes(self) -> list[str]:
        """One entry for each write by the patcher."""
        return []

    @pytest.fixture
    async def patcher(self, admin: HttpKubeClient, writes: list[str]) -> StatusPatcher:
        await admin.apply(CRD, key_of(WIDGETS), WIDGETS, field_manager="test")
        client = GuardedClient(admin, lambda: writes.append("write"))
        owned = frozenset({"Ready", "Reconciling", "Stalled"})
        return StatusPatcher(client, WIDGET, field_manager=MANAGER, owned=owned, clock=CLOCK)

    @pytest.fixture
    async def widget(
        self, admin: HttpKubeClient, namespace: str, patcher: StatusPatcher
    ) -> JsonObject:
        return await make_widget(admin, namespace)

    async def foreign(self, admin: HttpKubeClient, obj: JsonObject, status: JsonObject) -> None:
        """Somebody else writes a status."""
        await admin.patch(
            WIDGET,
            key_of(obj),
            {"status": status},
            patch_type="merge",
            field_manager="somebody",
            subresource="status",
        )

    # --- status ----------------------------------------------------------------------------

    async def test_the_status_is_written_and_nothing_else(
        self, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        after = changed(widget, lastAppliedRevision="main@1", conditions=[condition("Ready")])
        after["spec"] = {"other": True}
        snapshot = copy.deepcopy((widget, after))
        result = await patcher.patch(widget, after)

        assert result["status"]["lastAppliedRevision"] == "main@1"
        assert result["status"]["observedGeneration"] == -1
        assert conditions_of(result) == [("Ready", "True")]
        assert result["spec"] == widget["spec"]
        assert (widget, after) == snapshot
        written = [m for m in result["metadata"]["managedFields"] if m["manager"] == MANAGER]
        assert [m["subresource"] for m in written] == ["status"]

    async def test_nothing_is_sent_where_nothing_changed(
        self, widget: JsonObject, patcher: StatusPatcher, writes: list[str]
    ) -> None:
        result = await patcher.patch(widget, copy.deepcopy(widget))

        assert result is widget
        assert writes == []

    async def test_one_outcome_is_one_write(
        self, widget: JsonObject, patcher: StatusPatcher, writes: list[str]
    ) -> None:
        after = changed(
            widget, observedGeneration=1, conditions=[condition("Ready"), condition("Healthy")]
        )
        await patcher.patch(widget, after)

        assert len(writes) == 1

    async def test_fields_that_are_gone_are_removed(
        self, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        first = await patcher.patch(
            widget, changed(widget, artifact={"revision": "1"}, conditions=[condition("Stalled")])
        )
        after = copy.deepcopy(first)
        del after["status"]["artifact"]
        after["status"]["conditions"] = []
        result = await patcher.patch(first, after)

        assert "artifact" not in result["status"]
        assert conditions_of(result) == []

    async def test_after_a_conflict_own_conditions_win_and_foreign_ones_stay(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        before = await patcher.patch(
            widget, changed(widget, conditions=[condition("Ready"), condition("Reconciling")])
        )
        await self.foreign(
            admin,
            widget,
            {
                "theirs": "kept",
                "conditions": [
                    condition("Ready", "Unknown"),
                    condition("Reconciling"),
                    condition("Theirs"),
                ],
            },
        )
        after = changed(before, ours="new", conditions=[condition("Ready", "False")])
        result = await patcher.patch(before, after)

        assert conditions_of(result) == [("Ready", "False"), ("Theirs", "True")]
        assert result["status"]["theirs"] == "kept"
        assert result["status"]["ours"] == "new"

    async def test_a_condition_we_do_not_own_is_changed_only_if_nobody_else_did(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        before = await patcher.patch(
            widget, changed(widget, conditions=[condition("Shared"), condition("Calm")])
        )
        await self.foreign(
            admin,
            widget,
            {"conditions": [condition("Shared", message="theirs"), condition("Calm")]},
        )
        after = changed(
            before, conditions=[condition("Shared", "False"), condition("Calm", "False")]
        )
        result = await patcher.patch(before, after)

        assert conditions_of(result) == [("Calm", "False"), ("Shared", "True")]

    async def test_after_a_conflict_fields_can_be_joined(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        await self.foreign(admin, widget, {"ids": ["theirs"]})

        def union(latest: JsonObject, after: JsonObject) -> JsonObject:
            ids = {*latest["status"].get("ids", []), *after["status"]["ids"]}
            return changed(after, ids=sorted(ids))

        result = await patcher.patch(widget, changed(widget, ids=["ours"]), rebase=union)

        assert result["status"]["ids"] == ["ours", "theirs"]

    async def test_the_status_never_reaches_another_object_of_the_same_name(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        await admin.delete(WIDGET, key_of(widget))
        with pytest.raises(NotFound):
            await patcher.patch(widget, changed(widget, ours="x"))
        replaced = await make_widget(admin, key_of(widget).namespace)
        with pytest.raises(NotFound, match="replaced") as caught:
            await patcher.patch(widget, changed(widget, ours="x"))
        assert not caught.value.is_resource

        assert await admin.get(WIDGET, key_of(widget)) == replaced

    # --- finalizer -------------------------------------------------------------------------

    async def test_the_finalizer_is_added_once_and_beside_others(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher, writes: list[str]
    ) -> None:
        await admin.patch(
            WIDGET,
            key_of(widget),
            {"metadata": {"finalizers": ["example.com/theirs"]}},
            patch_type="merge",
            field_manager="somebody",
        )
        result = await patcher.add_finalizer(widget)  # the snapshot is old
        again = await patcher.add_finalizer(result)
        expected = ["example.com/theirs", "finalizers.fluxcd.io"]

        assert result["metadata"]["finalizers"] == expected
        assert again is result
        assert len(writes) == 2  # the first under the old resourceVersion
        result["metadata"]["resourceVersion"] = widget["metadata"]["resourceVersion"]
        kept = await patcher.remove_finalizer(result)
        assert kept["metadata"]["finalizers"] == ["example.com/theirs"]
        await admin.patch(
            WIDGET,
            key_of(widget),
            {"metadata": {"finalizers": None}},
            patch_type="merge",
            field_manager="somebody",
        )

    async def test_removing_the_last_finalizer_lets_the_object_go(
        self, admin: HttpKubeClient, widget: JsonObject, patcher: StatusPatcher
    ) -> None:
        obj = await patcher.add_finalizer(widget)
        await admin.delete(WIDGET, key_of(obj))
        deleting = await admin.get(WIDGET, key_of(obj))
        assert await patcher.add_finalizer(deleting) == deleting
        await patcher.remove_finalizer(deleting)

        with pytest.raises(NotFound):
            await admin.get(WIDGET, key_of(obj))
        assert await patcher.remove_finalizer(deleting) == deleting

    # --- events ----------------------------------------------------------------------------

    async def test_repeated_events_are_counted_on_one_object(
        self, admin: HttpKubeClient, namespace: str, widget: JsonObject
    ) -> None:
        async with aiohttp.ClientSession() as http:
            recorder = EventRecorder(
                admin,
                controller="test-controller",
                events_addr="",
                clock=CLOCK,
                http=http,
                hostname="pod-1",
                log=get_logger("test"),
            )
            running = asyncio.create_task(recorder.run(), name="events")
            metadata = {"test.fluvial.dev/revision": "main@1"}
            for message in ("same", "same", "other", "same"):
                recorder.event(
                    widget, type="Warning", reason="Bad", message=message, metadata=metadata
                )
            recorder.event(widget, type="Trace", reason="Seen", message="trace")
            await recorder.flush(SECONDS)
            running.cancel()
            await asyncio.wait((running,))
        events = (await admin.list_all(EVENT, namespace=namespace)).items
        found = {event["message"]: event for event in events}

        assert {name: event["count"] for name, event in found.items()} == {
            "same": 3,
            "other": 1,
            "trace": 1,
        }
        same = found["same"]
        assert same["metadata"]["name"].startswith("w.")
        assert same["metadata"]["annotations"] == metadata
        assert same["involvedObject"]["uid"] == widget["metadata"]["uid"]
        assert same["source"] == {"component": "test-controller"}
        assert same["reportingComponent"] == "test-controller"
        assert same["reportingInstance"] == "pod-1"
        assert (same["type"], found["trace"]["type"]) == ("Warning", "Normal")
        assert recorder.dropped == {"cluster": 0, "notification": 0}

    async def test_events_of_cluster_scoped_objects_are_in_the_default_namespace(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        obj = await admin.get(NAMESPACE, ObjectKey("", namespace))
        async with aiohttp.ClientSession() as http:
            recorder = EventRecorder(
                admin,
                controller="test-controller",
                events_addr="",
                clock=CLOCK,
                http=http,
                hostname="pod-1",
                log=get_logger("test"),
            )
            running = asyncio.create_task(recorder.run(), name="events")
            recorder.event(obj, type="Normal", reason="Seen", message="hello")
            await recorder.flush(SECONDS)
            running.cancel()
            await asyncio.wait((running,))
        page = await admin.list_all(EVENT, namespace="default")
        found = [item for item in page.items if item["involvedObject"]["name"] == namespace]
        await admin.delete(EVENT, key_of(found[0]))

        assert [item["reason"] for item in found] == ["Seen"]

    # --- lease -----------------------------------------------------------------------------

    async def test_a_released_lease_is_taken_at_once(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        key = ObjectKey(namespace, "test-controller-leader-election")
        first, second = (elector(admin, key, host) for host in ("one", "two"))
        await first.acquire()
        held = await admin.get(LEASE, key)
        waiting = asyncio.create_task(second.acquire(), name="second")
        await asyncio.sleep(0.05)
        before = (first.is_leader, second.is_leader)
        await first.release()
        async with asyncio.timeout(SECONDS):
            await waiting
        taken = await admin.get(LEASE, key)

        assert held["spec"]["holderIdentity"] == first.identity
        assert held["spec"]["leaseTransitions"] == 0
        assert taken["spec"]["holderIdentity"] == second.identity
        assert taken["spec"]["leaseTransitions"] == 1
        assert taken["spec"]["leaseDurationSeconds"] == 35
        assert before == (True, False)
        assert (first.is_leader, second.is_leader) == (False, True)

    async def test_a_leader_that_finds_another_holder_is_one_no_more(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        key = ObjectKey(namespace, "test-controller-leader-election")
        leader = elector(admin, key, "one")
        await leader.acquire()
        await admin.patch(
            LEASE,
            key,
            {"spec": {"holderIdentity": "fluvial_thief_1"}},
            patch_type="merge",
            field_manager="thief",
        )
        async with asyncio.timeout(SECONDS):
            await leader.renew()

        assert leader.lost.is_set()
        assert not leader.is_leader

    @pytest.mark.parametrize("everywhere", [True, False], ids=["same-namespace", "elsewhere"])
    async def test_a_start_beside_another_installation_is_refused(
        self, admin: HttpKubeClient, namespace: str, *, everywhere: bool
    ) -> None:
        name = f"{namespace}-leader-election"
        key = ObjectKey(namespace, name)
        own = namespace if everywhere else "default"
        foreign = elector(admin, key, "one")
        foreign.identity = "kustomize-controller-7d9f_0b5c"
        await foreign.acquire()
        with pytest.raises(ForeignHolder, match="kustomize-controller-7d9f_0b5c"):
            await refuse_foreign_holder(admin, namespace=own, names=[name], clock=CLOCK)
        await foreign.release()
        await refuse_foreign_holder(admin, namespace=own, names=[name], clock=CLOCK)
        ours = elector(admin, key, "two")
        await ours.acquire()
        await refuse_foreign_holder(admin, namespace=own, names=[name], clock=CLOCK)

        assert ours.is_leader


async def make_widget(admin: HttpKubeClient, namespace: str) -> JsonObject:
    """A fresh object; a kind that was made a moment ago may not be served yet."""
    body = {
        "apiVersion": WIDGET.api_version,
        "kind": "Widget",
        "metadata": {"namespace": namespace, "name": "w"},
        "spec": {"size": 1},
    }
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await admin.create(WIDGET, body, field_manager="test")
            except NotFound:
                await asyncio.sleep(0.05)


def elector(client: HttpKubeClient, key: ObjectKey, host: str) -> LeaderElector:
    """A candidate that tries often."""
    return LeaderElector(
        client,
        key,
        identity=make_identity(host),
        clock=CLOCK,
        log=get_logger("test"),
        field_manager="test-controller",
        times=ElectionTimes(retry_period=0.01),
    )
