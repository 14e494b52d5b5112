"""Writes of a controller that are stopped in the middle, and the log of what it asked.

devcluster does both itself and is asked by its control endpoint, also as a process of its own;
in front of any other control plane a fault proxy does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import aiohttp

from faultproxy import Asked, FaultProxy, Match, Rule
from faultproxy.faults import hang

__all__ = ["NO_BOOKKEEPING", "ControlClient", "Holds", "ProxyHolds", "When"]

When = Literal["before", "after"]

NO_BOOKKEEPING = r"^(?!.*/(events|leases)(/|$))"
"""Paths of all writes but Events and Leases: those two decide nothing about objects."""

_CAUGHT = 30.0  # seconds until a write that must come has come
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_STORED = r"^(?!.*reviews\.)"  # resources of objects that are kept
_NO_DRY_RUN = r"^(?!(.*&)?dryRun=)"


class Holds(Protocol):
    """Stops writes of a process, so that it can be killed there, and knows what was asked."""

    async def hold(self, controller: str, *, nth: int, when: When) -> int:
        """Stop the n-th write of a controller, counted from now; dry runs are none.

        Args:
            controller: its user agent up to the slash.
            nth: from 1.
            when: ``before`` it takes effect, or ``after`` that and before it is answered.

        Returns:
            The id of the hold.

        """
        ...

    async def caught(self, hold: int) -> Mapping[str, Any]:
        """The request that a hold has stopped."""
        ...

    async def state(self, hold: int, *, wait: float = 0) -> str:
        """``held`` or not, once it is or ``wait`` seconds have passed."""
        ...

    async def gone(self, hold: int) -> None:
        """Return once the held request can have no effect any more, its client being dead."""
        ...

    async def forget(self, hold: int) -> None:
        """Take a hold away."""
        ...

    async def requests(
        self, *, after: int = 0, agent: str = "", query: str = ""
    ) -> list[dict[str, Any]]:
        """What was asked: ``seq``, ``method``, ``path``, ``agent``, ``write`` of each.

        Args:
            after: the number after which to begin.
            agent: what is searched for in the user agent.
            query: and in the query.

        """
        ...

    async def position(self) -> int:
        """The number of the newest request."""
        ...


class ControlClient:
    """Holds and the request log of one devcluster."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def hold(self, controller: str, *, nth: int, when: When) -> int:
        """As ``Holds``."""
        match = {"agent": f"^{controller}/", "path": NO_BOOKKEEPING}
        shown = await self._call("POST", "/holds", {"match": match, "nth": nth, "when": when})
        return int(shown["id"])

    async def caught(self, hold: int) -> dict[str, Any]:
        """As ``Holds``."""
        shown = await self._call("GET", f"/holds/{hold}?wait={_CAUGHT}")
        assert shown["state"] == "held", f"no such write came: {shown}"
        request: dict[str, Any] = shown["request"]
        return request

    async def state(self, hold: int, *, wait: float = 0) -> str:
        """As ``Holds``."""
        return str((await self._call("GET", f"/holds/{hold}?wait={wait}"))["state"])

    async def gone(self, hold: int) -> None:
        """As ``Holds``: until the server knows that the client is dead."""
        async with asyncio.timeout(_CAUGHT):
            while await self.state(hold) == "held":
                await asyncio.sleep(0.005)

    async def forget(self, hold: int) -> None:
        """As ``Holds``; what is held goes on."""
        await self._call("DELETE", f"/holds/{hold}")

    async def requests(
        self, *, after: int = 0, agent: str = "", query: str = ""
    ) -> list[dict[str, Any]]:
        """As ``Holds``."""
        terms = {"after": str(after), "agent": agent, "query": query}
        asked = {name: text for name, text in terms.items() if text}
        async with self._session.get(f"{self._url}/requests", params=asked) as response:
            entries: list[dict[str, Any]] = await response.json()
        assert response.status == 200, entries
        return entries

    async def position(self) -> int:
        """As ``Holds``."""
        entries = await self.requests()
        return int(entries[-1]["seq"]) if entries else 0

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, self._url + path, json=body) as response:
            shown = await response.json()
            assert response.status < 300, shown
            return shown


class ProxyHolds:
    """Holds by rules of a fault proxy: what is held is never sent on, or its answer never comes."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._held: dict[int, tuple[Rule, int]] = {}

    async def hold(self, controller: str, *, nth: int, when: When) -> int:
        """As ``Holds``."""
        match = Match(
            verb="|".join(sorted(_WRITES)),
            agent=f"^{controller}/",
            path=NO_BOOKKEEPING,
            resource=_STORED,
            query=_NO_DRY_RUN,
        )
        rule = self._proxy.add(match, hang(when), times=1, skip=nth - 1)
        self._held[rule.id] = rule, self._proxy.position
        return rule.id

    async def caught(self, hold: int) -> dict[str, Any]:
        """As ``Holds``."""
        rule, since = self._held[hold]
        async with asyncio.timeout(_CAUGHT):
            while not rule.happened:  # by then it has taken effect, where it shall
                await asyncio.sleep(0.005)
        asked = self._proxy.requests(rule.match, after=since)
        return _shown(next(one for one in asked if rule.fault.label in one.faults))

    async def state(self, hold: int, *, wait: float = 0) -> str:
        """As ``Holds``."""
        rule, _ = self._held[hold]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not rule.struck:
                    await asyncio.sleep(0.005)
        return "held" if rule.struck else "armed"

    async def gone(self, hold: int) -> None:
        """As ``Holds``: nothing to wait for, no rule of the proxy sends on what it has stopped."""

    async def forget(self, hold: int) -> None:
        """As ``Holds``."""
        self._held.pop(hold)
        self._proxy.remove(hold)

    async def requests(
        self, *, after: int = 0, agent: str = "", query: str = ""
    ) -> list[dict[str, Any]]:
        """As ``Holds``."""
        match = Match(agent=agent, query=query)
        return [_shown(one) for one in self._proxy.requests(match, after=after)]

    async def position(self) -> int:
        """As ``Holds``."""
        return self._proxy.position


def _shown(asked: Asked) -> dict[str, Any]:
    is_write = asked.verb in _WRITES and not asked.resource.partition(".")[0].endswith("reviews")
    return {
        "seq": asked.seq,
        "method": asked.method,
        "path": asked.path,
        "agent": asked.agent,
        "write": is_write and "dryRun=" not in asked.query,
    }
