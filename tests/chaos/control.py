"""A client of devcluster's control endpoint, for clusters that run as a process of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

__all__ = ["NO_BOOKKEEPING", "ControlClient"]

NO_BOOKKEEPING = r"^(?!.*/(events|leases)(/|$))"
"""Paths of all writes but Events and Leases: those two decide nothing about objects."""

_CAUGHT = 30.0  # seconds until a write that must come has come


class ControlClient:
    """Holds and the request log of one devcluster."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def hold(self, controller: str, *, nth: int, when: str) -> int:
        """Stop the n-th write of a controller, counted from now; dry runs are none."""
        match = {"agent": f"^{controller}/", "path": NO_BOOKKEEPING}
        shown = await self._call("POST", "/holds", {"match": match, "nth": nth, "when": when})
        return int(shown["id"])

    async def caught(self, hold: int) -> dict[str, Any]:
        """The request that a hold has stopped."""
        shown = await self._call("GET", f"/holds/{hold}?wait={_CAUGHT}")
        assert shown["state"] == "held", f"no such write came: {shown}"
        request: dict[str, Any] = shown["request"]
        return request

    async def state(self, hold: int, *, wait: float = 0) -> str:
        """State of a hold, once it is no longer armed or ``wait`` seconds have passed."""
        return str((await self._call("GET", f"/holds/{hold}?wait={wait}"))["state"])

    async def gone(self, hold: int) -> None:
        """Wait until the server knows that the held request's client is dead."""
        async with asyncio.timeout(_CAUGHT):
            while await self.state(hold) == "held":
                await asyncio.sleep(0.005)

    async def forget(self, hold: int) -> None:
        """Release and forget a hold."""
        await self._call("DELETE", f"/holds/{hold}")

    async def requests(self, *, after: int = 0, **match: str) -> list[dict[str, Any]]:
        """The request log from a sequence number on."""
        query = {**match, "after": str(after)}
        async with self._session.get(f"{self._url}/requests", params=query) as response:
            entries: list[dict[str, Any]] = await response.json()
        assert response.status == 200, entries
        return entries

    async def position(self) -> int:
        """Sequence number of the newest request."""
        entries = await self.requests()
        return int(entries[-1]["seq"]) if entries else 0

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, self._url + path, json=body) as response:
            shown = await response.json()
            assert response.status < 300, shown
            return shown
