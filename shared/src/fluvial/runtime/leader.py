"""Leader election by a Lease, compatible with the one of Flux' controllers.

A candidate never compares its clock with another's: it watches the record and takes the lease
once the record has not changed for the lease's duration, measured on its own monotonic clock.
The leader counts itself as such for ``renew_deadline`` seconds after it *started* its last
successful renewal, which ends well before anybody else may take over (``lease_duration``). That
bound holds without the loop's help: ``check`` compares clocks when it is called, so a process
whose event loop stood still for a minute refuses to write before it has noticed anything else.

Our identities begin with ``fluvial_``. ``refuse_foreign_holder`` keeps two installations, Flux'
and ours, from working on the same objects: it is asked once at the start, with and without
election.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluvial.clock import Clock, parse_time
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, Conflict, Forbidden, NotFound
from fluvial.kube.kinds import LEASE
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = [
    "ElectionTimes",
    "ForeignHolder",
    "LeaderElector",
    "LeadershipLost",
    "make_identity",
    "refuse_foreign_holder",
]

_PREFIX = "fluvial_"
_JITTER = 0.2  # of the retry period, added at random between candidates
_RELEASE_TIMEOUT = 5.0
_SKEW = timedelta(seconds=30)  # how wrong another machine's clock may be at the start-up check


class LeadershipLost(FluvialError):
    """The process may not write any more; it should end."""


class ForeignHolder(FluvialError):
    """Another installation works on the same objects; do not start beside it."""


@dataclass(frozen=True, slots=True)
class ElectionTimes:
    """Seconds; Flux' defaults."""

    lease_duration: float = 35.0
    renew_deadline: float = 30.0
    retry_period: float = 5.0


@dataclass(slots=True)
class _Seen:
    """The record as it last changed, and when that was noticed."""

    spec: JsonObject
    at: float

    @property
    def holder(self) -> str:
        return str(self.spec.get("holderIdentity") or "")


def make_identity(hostname: str) -> str:
    """An identity that no other process has."""
    return f"{_PREFIX}{hostname}_{uuid.uuid4()}"


class LeaderElector:
    """Competes for one lease.

    Args:
        client: reads and writes the lease; best with connections of its own.
        key: namespace and name of the lease.
        identity: from ``make_identity``.
        times: how long is what.
        clock: the time.
        log: hears of changes.
        field_manager: name under which the lease is written.
    """

    def __init__(
        self,
        client: KubeClient,
        key: ObjectKey,
        *,
        identity: str,
        clock: Clock,
        log: Logger,
        field_manager: str,
        times: ElectionTimes | None = None,
    ) -> None:
        self._client = client
        self._key = key
        self.identity = identity
        self._clock = clock
        self._log = log
        self._field_manager = field_manager
        self._times = times or ElectionTimes()
        self._seen: _Seen | None = None
        self._latest: JsonObject | None = None
        self._deadline = float("-inf")
        self._given_up = False
        self.lost = asyncio.Event()
        """Set once leadership that was held is gone."""

    @property
    def is_leader(self) -> bool:
        """Whether this process may act, by its own clock at this moment."""
        return not self._given_up and self._clock.monotonic() < self._deadline

    @property
    def holder(self) -> str:
        """Who held the lease when it was last looked at; ``""`` if nobody, or nobody knows."""
        return self._seen.holder if self._seen else ""

    def check(self) -> None:
        """Raise ``LeadershipLost`` unless this process may act."""
        if not self.is_leader:
            raise LeadershipLost(f"the lease {self._key} is not held any more: nothing is written")

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        self._log.info("attempting to acquire leader lease", lease=str(self._key))
        told = ""
        while not await self._attempt():
            holder = self._seen.holder if self._seen else ""
            if holder != told:
                told = holder
                self._log.info("lease is held by another", lease=str(self._key), holder=holder)
            await self._pause()
        self._log.info("successfully acquired lease", lease=str(self._key))

    async def renew(self) -> None:
        """Keep the lease; sets ``lost`` and returns when it is lost."""
        while True:
            await self._pause()
            try:
                async with asyncio.timeout(self._deadline - self._clock.monotonic()):
                    kept = await self._attempt_until_answered()
            except TimeoutError:
                kept = False
            if not kept:
                self._given_up = True
                self.lost.set()
                self._log.error("leader election lost", lease=str(self._key))
                return

    async def release(self) -> None:
        """Give the lease up, so that the next one need not wait; failures are logged only."""
        if not self.is_leader or self._latest is None:
            return
        self._given_up = True
        now = _micro(self._clock.now())
        spec = {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": now,
            "acquireTime": now,
        }
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self._write(self._latest, spec)
        except (ApiError, TimeoutError) as error:
            self._log.info("lease not released", lease=str(self._key), error=str(error))
        else:
            self._log.info("lease released", lease=str(self._key))

    async def _attempt(self) -> bool:
        """Take or renew the lease; ``False`` if it is another's or nobody answered."""
        try:
            return await self._take()
        except ApiError as error:
            self._log.info("lease not available", lease=str(self._key), error=str(error))
            return False

    async def _attempt_until_answered(self) -> bool:
        while True:
            try:
                return await self._take()
            except ApiError as error:
                # Unreachable, forbidden or in conflict: still ours until the deadline.
                self._log.info("lease not renewed", lease=str(self._key), error=str(error))
            await self._pause()

    async def _take(self) -> bool:
        started = self._clock.monotonic()
        if self.is_leader and self._latest is not None:
            try:
                return self._hold(await self._write(self._latest, self._claim(None)), started)
            except Conflict:
                pass  # somebody touched it: look who
        try:
            lease = await self._client.get(LEASE, self._key)
        except NotFound:
            return self._hold(await self._create(), started)
        seen = self._observe(lease)
        if seen.holder not in {"", self.identity} and not self._expired(seen):
            return False
        return self._hold(await self._write(lease, self._claim(seen)), started)

    def _observe(self, lease: JsonObject) -> _Seen:
        spec: JsonObject = lease.get("spec") or {}
        if self._seen is None or self._seen.spec != spec:
            self._seen = _Seen(spec, self._clock.monotonic())
        return self._seen

    def _expired(self, seen: _Seen) -> bool:
        duration = seen.spec.get("leaseDurationSeconds") or self._times.lease_duration
        return seen.at + float(duration) <= self._clock.monotonic()

    def _hold(self, lease: JsonObject, started: float) -> bool:
        self._latest = lease
        self._observe(lease)
        self._deadline = started + self._times.renew_deadline
        return True

    def _claim(self, seen: _Seen | None) -> JsonObject:
        """The fields that say it is ours; ``None`` renews what already is."""
        now = _micro(self._clock.now())
        claim: JsonObject = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, math.ceil(self._times.lease_duration)),
            "renewTime": now,
        }
        if seen is not None and seen.holder != self.identity:
            claim["acquireTime"] = now
            claim["leaseTransitions"] = int(seen.spec.get("leaseTransitions") or 0) + 1
        return claim

    async def _create(self) -> JsonObject:
        body: JsonObject = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._key.namespace, "name": self._key.name},
            "spec": {
                **self._claim(None),
                "acquireTime": _micro(self._clock.now()),
                "leaseTransitions": 0,
            },
        }
        return await self._client.create(LEASE, body, field_manager=self._field_manager)

    async def _write(self, lease: JsonObject, spec: JsonObject) -> JsonObject:
        version = lease["metadata"]["resourceVersion"]
        return await self._client.patch(
            LEASE,
            self._key,
            {"metadata": {"resourceVersion": version}, "spec": spec},
            patch_type="merge",
            field_manager=self._field_manager,
        )

    async def _pause(self) -> None:
        # Jitter between candidates, nothing secret.
        spread = 1 + _JITTER * random.random()  # noqa: S311 - spreads load
        await self._clock.sleep(self._times.retry_period * spread)


async def refuse_foreign_holder(
    client: KubeClient, *, namespace: str, names: Iterable[str], clock: Clock
) -> None:
    """Refuse to start while another installation holds one of the leases.

    Args:
        client: lists leases in all namespaces, or reads those of ``namespace`` if it may not.
        namespace: where this controller runs.
        names: the lease of this controller, and that of one without a label selector, which
            works on everything.
        clock: tells leases that were left behind from live ones.

    Raises:
        ForeignHolder: the message names the holder and what to do.

    """
    for name in dict.fromkeys(names):
        for lease in await _leases(client, ObjectKey(namespace, name)):
            spec = lease.get("spec") or {}
            holder = str(spec.get("holderIdentity") or "")
            if not holder or holder.startswith(_PREFIX) or not _is_live(spec, clock.now()):
                continue
            raise ForeignHolder(
                f"the lease {key_of(lease)} is held by {holder!r}, which is not a controller of"
                " this installation: stop it first (for example by scaling its Deployment to 0),"
                " because two controllers would fight over the same objects"
            )


async def _leases(client: KubeClient, key: ObjectKey) -> list[JsonObject]:
    with contextlib.suppress(Forbidden):
        page = await client.list_all(LEASE, field_selector=f"metadata.name={key.name}")
        return page.items
    with contextlib.suppress(Forbidden, NotFound):
        return [await client.get(LEASE, key)]
    return []


def _is_live(spec: JsonObject, now: datetime) -> bool:
    try:
        renewed = parse_time(str(spec.get("renewTime") or ""))
    except ValueError:
        return False
    duration = timedelta(seconds=float(spec.get("leaseDurationSeconds") or 0))
    return now < renewed + duration + _SKEW


def _micro(moment: datetime) -> str:
    """A ``metav1.MicroTime``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
