"""The rules of the lease, in virtual time."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import pytest

from fluvial.clock import RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import AlreadyExists, Conflict, NotFound, Unreachable
from fluvial.kube.kinds import CONFIG_MAP
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.guard import GuardedClient
from fluvial.runtime.leader import LeaderElector, LeadershipLost, make_identity
from fluvial.runtime.sharding import lease_name

CLOCK = RealClock()
KEY = ObjectKey("flux-system", "app-leader-election")


class Leases:
    """One lease under optimistic locking, behind a network that can fail."""

    def __init__(self) -> None:
        self.lease: JsonObject | None = None
        self.version = 0
        self.away = False
        self.hangs = False
        self.requests = 0

    async def _reach(self) -> None:
        self.requests += 1
        if self.hangs:
            await asyncio.sleep(10_000)
        if self.away:
            raise Unreachable("connection refused")

    def _store(self, lease: JsonObject) -> JsonObject:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease
        return copy.deepcopy(lease)

    async def get(self, *_: Any, **__: Any) -> JsonObject:
        await self._reach()
        if self.lease is None:
            raise NotFound("no lease", status=404, details={"name": KEY.name})
        return copy.deepcopy(self.lease)

    async def create(self, _: Any, obj: JsonObject, **__: Any) -> JsonObject:
        await self._reach()
        if self.lease is not None:
            raise AlreadyExists("exists", status=409)
        return self._store(copy.deepcopy(obj))

    async def patch(self, _: Any, __: Any, body: JsonObject, **___: Any) -> JsonObject:
        await self._reach()
        assert self.lease is not None
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("modified", status=409)
        lease = copy.deepcopy(self.lease)
        lease["spec"] |= body["spec"]
        return self._store(lease)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])


def elector(leases: Leases, host: str = "one") -> LeaderElector:
    return LeaderElector(
        cast("KubeClient", leases),
        KEY,
        identity=make_identity(host),
        clock=CLOCK,
        log=get_logger("test"),
        field_manager="app",
    )


def test_identities_differ_and_are_recognisable() -> None:
    assert make_identity("pod") != make_identity("pod")
    assert make_identity("pod").startswith("fluvial_pod_")


def test_each_shard_has_a_lease_of_its_own() -> None:
    assert lease_name("source-controller") == "source-controller-leader-election"
    # printf %s 'sharding.fluxcd.io/key=shard1' | sha256sum
    assert (
        lease_name("source-controller", "sharding.fluxcd.io/key=shard1")
        == "source-controller-leader-election-73fdc1be"
    )


@pytest.mark.looptime
async def test_a_free_lease_is_taken_at_once() -> None:
    leases = Leases()
    leader = elector(leases)
    with pytest.raises(LeadershipLost):
        leader.check()
    await leader.acquire()

    assert leader.is_leader
    assert leases.holder == leader.identity
    leader.check()


@pytest.mark.looptime
async def test_a_candidate_waits_until_the_record_has_not_changed_for_its_duration() -> None:
    leases = Leases()
    first, second = elector(leases), elector(leases, "two")
    await first.acquire()
    renewing = asyncio.create_task(first.renew(), name="renew")
    waiting = asyncio.create_task(second.acquire(), name="second")
    await asyncio.sleep(300)
    assert not second.is_leader
    renewing.cancel()  # the first dies without a word
    died = CLOCK.monotonic()
    await waiting

    assert 30 <= CLOCK.monotonic() - died <= 50
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


@pytest.mark.looptime
async def test_the_wall_clock_of_the_holder_does_not_matter() -> None:
    leases = Leases()
    first, second = elector(leases), elector(leases, "two")
    await first.acquire()
    assert leases.lease is not None
    leases.lease["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    waiting = asyncio.create_task(second.acquire(), name="second")
    await asyncio.sleep(30)

    assert not second.is_leader
    await waiting
    assert second.is_leader


@pytest.mark.looptime
async def test_a_renewal_is_one_request_and_moves_the_deadline() -> None:
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    before = leases.requests
    renewing = asyncio.create_task(leader.renew(), name="renew")
    await asyncio.sleep(600)
    renewing.cancel()

    assert leader.is_leader
    assert 100 <= leases.requests - before <= 121


@pytest.mark.looptime
@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_leadership_is_lost_when_nobody_answers_until_the_deadline(how: str) -> None:
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    start = CLOCK.monotonic()
    setattr(leases, how, True)
    await leader.renew()

    assert leader.lost.is_set()
    assert CLOCK.monotonic() - start == pytest.approx(30, abs=0.1)
    with pytest.raises(LeadershipLost):
        leader.check()


@pytest.mark.looptime
async def test_a_short_absence_of_the_api_server_costs_nothing() -> None:
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    renewing = asyncio.create_task(leader.renew(), name="renew")
    for _ in range(5):
        leases.away = True
        await asyncio.sleep(20)
        leases.away = False
        await asyncio.sleep(20)
    renewing.cancel()

    assert leader.is_leader
    assert not leader.lost.is_set()


@pytest.mark.looptime
async def test_a_stalled_event_loop_stops_writes_before_anything_noticed() -> None:
    """Nothing ran, no timer fired: the check itself compares clocks."""
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    guarded = GuardedClient(cast("KubeClient", leases), leader.check)
    await guarded.get(CONFIG_MAP, KEY)
    leader._deadline -= 31  # as if the loop had stood still for 31 s

    assert not leader.lost.is_set()
    with pytest.raises(LeadershipLost):
        await guarded.create(CONFIG_MAP, {}, field_manager="m")
    with pytest.raises(LeadershipLost):
        await guarded.patch(CONFIG_MAP, KEY, {}, patch_type="merge", field_manager="m")
    with pytest.raises(LeadershipLost):
        await guarded.apply(CONFIG_MAP, KEY, {}, field_manager="m")
    with pytest.raises(LeadershipLost):
        await guarded.delete(CONFIG_MAP, KEY)
    with pytest.raises(LeadershipLost):
        await guarded.request("POST", "/api")
    assert (await guarded.get(CONFIG_MAP, KEY))["spec"]["holderIdentity"] == leader.identity


@pytest.mark.looptime
async def test_somebody_who_only_touched_the_lease_takes_nothing() -> None:
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    assert leases.lease is not None
    leases._store({**leases.lease, "metadata": {"labels": {"a": "b"}}})
    renewing = asyncio.create_task(leader.renew(), name="renew")
    await asyncio.sleep(100)
    renewing.cancel()

    assert leader.is_leader


@pytest.mark.looptime
async def test_a_released_lease_is_free_and_the_releaser_writes_no_more() -> None:
    leases = Leases()
    first, second = elector(leases), elector(leases, "two")
    await first.acquire()
    await first.release()
    assert leases.holder == ""
    assert not first.is_leader
    start = CLOCK.monotonic()
    await second.acquire()

    assert CLOCK.monotonic() == start
    await first.release()
    assert leases.holder == second.identity


@pytest.mark.looptime
async def test_releasing_is_bounded() -> None:
    leases = Leases()
    leader = elector(leases)
    await leader.acquire()
    leases.hangs = True
    start = CLOCK.monotonic()
    await leader.release()

    assert CLOCK.monotonic() - start == pytest.approx(5, abs=0.1)
    assert not leader.is_leader
