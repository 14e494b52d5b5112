"""Run a scenario against an API server and return its normalised answers."""

from __future__ import annotations

import asyncio
import io
import json
import ssl as tls
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from yarl import URL

from conformance.apiserver.normalise import Normaliser
from conformance.apiserver.pointers import NOTHING, keep_discovery, pick, put
from conformance.apiserver.scenario import (
    Collect,
    Compact,
    Request,
    Scenario,
    Step,
    Watch,
    expand,
)

__all__ = ["ScenarioBroken", "Target", "run_scenario"]

Json = dict[str, Any]
_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.05
_ANY = "$ANY"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_QUIET = ("Content-Type", "Accept-Encoding")
_PATCHES = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class ScenarioBroken(Exception):
    """A scenario could not run to its end: a condition never held, or a value was not there."""


@dataclass(frozen=True, slots=True)
class Target:
    """An API server, the token of its admin, and how to let it forget its history."""

    url: str
    token: str
    ssl: tls.SSLContext
    compact: Callable[[], Awaitable[None]]


async def run_scenario(scenario: Scenario, target: Target) -> list[Json]:
    """The answers of ``scenario``, one a recorded step.

    Raises:
        ScenarioBroken: the server's answers do not let it run to its end.

    """
    async with _session(target) as session:
        run = _Run(scenario, target, session)
        try:
            return await run.all_steps()
        finally:
            await run.close()


@asynccontextmanager
async def _session(target: Target) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=target.ssl)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, read_bufsize=2**22
    ) as session:
        yield session


class _Run:
    def __init__(self, scenario: Scenario, target: Target, session: aiohttp.ClientSession) -> None:
        self._scenario = scenario
        self._target = target
        self._session = session
        self._variables = scenario.variables()
        # With the scenario's own variables only: what a step saved came from the server.
        sent = json.dumps([expand(asdict(step), self._variables) for step in scenario.steps])
        self._normaliser = Normaliser(sent=sent, workload=scenario.workload)
        self._watches: dict[str, aiohttp.ClientResponse] = {}
        self._defined: list[str] = []

    async def all_steps(self) -> list[Json]:
        if self._scenario.namespace:
            space = {"metadata": {"name": "$NS"}}
            line = "POST /api/v1/namespaces"
            await self._ask(Request(name="namespace", line=line, body=space, until={"status": 201}))
        answers: list[Json] = []
        for step in self._scenario.steps:
            try:
                answer = await self._step(step)
            except TimeoutError as error:
                raise ScenarioBroken(f"{self._scenario.id}: {step.name}: no answer") from error
            except (aiohttp.ClientError, ValueError) as error:
                text = f"{self._scenario.id}: {step.name}: not HTTP or not JSON: {error!r}"
                raise ScenarioBroken(text) from error
            if not isinstance(step, Compact) and (not isinstance(step, Request) or step.record):
                answers.append({"step": step.name, **answer})
        return answers

    async def close(self) -> None:
        for answer in self._watches.values():
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
            answer.close()
        # Each kind that stays costs every namespace that is deleted later a round of requests.
        for name in self._defined:
            await self._send(Request(name="clean up", line=f"DELETE {_DEFINITIONS}/{name}"))
        # An aborted transport closes its socket in the next turn of the loop, which may be the
        # last one.
        for _ in range(2):
            await asyncio.sleep(0)

    async def _step(self, step: Step) -> Json:
        if isinstance(step, Watch):
            return await self._open(step)
        if isinstance(step, Collect):
            return await self._collect(step)
        if isinstance(step, Compact):
            await self._target.compact()
            return {}
        return await self._ask(step)

    async def _ask(self, step: Request) -> Json:
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while True:
            answer, body = await self._send(step)
            wrong = _unmet(expand(dict(step.until), self._variables), answer.status, body)
            if not wrong:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise ScenarioBroken(
                    f"{self._scenario.id}: {step.name}: {wrong}; last answer {answer.status}: "
                    f"{json.dumps(body)[:2000]}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        for variable, pointer in step.save.items():
            value = pick(body, pointer)
            if value is NOTHING:
                raise ScenarioBroken(
                    f"{self._scenario.id}: {step.name}: no {pointer} in answer {answer.status}: "
                    f"{json.dumps(body)[:2000]}"
                )
            self._variables[variable] = value
        return self._record(step, answer, body)

    async def _send(self, step: Request) -> tuple[aiohttp.ClientResponse, Any]:
        method, _, path = expand(step.line, self._variables).partition(" ")
        headers = self._headers(user=step.user, groups=step.groups, bearer=step.bearer)
        if step.anonymous:
            headers = [(name, value) for name, value in headers if name != "Authorization"]
        given = {name.lower() for name in step.headers}
        headers = [(name, value) for name, value in headers if name.lower() not in given]
        for name, value in step.headers.items():
            headers.append((name, expand(value, self._variables)))
        data = self._body(step)
        kind = _PATCHES.get(step.content_type, step.content_type or "application/json")
        if data is not None:
            headers.append(("Content-Type", kind))
        async with asyncio.timeout(_WAIT_SECONDS):
            async with self._session.request(
                method, self._url(path), data=data, headers=headers, skip_auto_headers=_QUIET
            ) as answer:
                body = _parsed(answer, await answer.read())
        if path == _DEFINITIONS and answer.status == 201:
            self._defined.append(body["metadata"]["name"])
        return answer, body

    def _body(self, step: Request) -> str | io.BytesIO | None:
        text: str | None = step.raw if step.raw is None else expand(step.raw, self._variables)
        if step.body is not None:
            body = expand(step.body, self._variables)
            text = json.dumps(body * step.times if step.times > 1 else body)
        if text is None or not step.fill:
            return text
        return io.BytesIO(text.replace("$FILL", "x" * step.fill).encode())

    def _record(self, step: Request, answer: aiohttp.ClientResponse, body: Any) -> Json:
        normal = self._normaliser.answer(keep_discovery(body, self._scenario.discovery))
        recorded: Json = {"status": answer.status, "type": answer.content_type}
        warnings = answer.headers.getall("Warning", [])
        if warnings:
            recorded["warnings"] = warnings
        if step.see:
            recorded["headers"] = {name: answer.headers.get(name, "<absent>") for name in step.see}
        if not step.only:
            return {**recorded, "body": normal}
        part: Json = {}
        for pointer in step.only:
            put(part, pointer, pick(normal, pointer))
        return {**recorded, "part": part}

    async def _open(self, step: Watch) -> Json:
        path = expand(step.path, self._variables)
        headers = self._headers(user=step.user, groups=(), bearer="")
        if step.accept:
            headers.append(("Accept", step.accept))
        async with asyncio.timeout(_WAIT_SECONDS):
            answer = await self._session.get(self._url(path), headers=headers)
        if answer.status == 200:
            self._watches[step.name] = answer
            return {"status": 200, "type": answer.content_type}
        body = _parsed(answer, await answer.read())
        normal = self._normaliser.answer(body)
        return {"status": answer.status, "type": answer.content_type, "body": normal}

    async def _collect(self, step: Collect) -> Json:
        answer = self._watches.get(step.watch)
        if answer is None:
            raise ScenarioBroken(f"{self._scenario.id}: {step.name}: {step.watch} is not open")
        events: list[Json] = []
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                async for event in _events(answer):
                    # Plain bookmarks are a courtesy: whether one comes is a matter of timing.
                    if event["type"] == "BOOKMARK" and not _ends_initial(event):
                        continue
                    events.append(event)
                    if _enough(step, events):
                        break
                else:
                    if not step.closed:
                        raise ScenarioBroken(
                            f"{self._scenario.id}: {step.name}: the watch ended after "
                            f"{json.dumps(events)[:2000]}"
                        )
        except TimeoutError as error:
            raise ScenarioBroken(
                f"{self._scenario.id}: {step.name}: too few events: {json.dumps(events)[:2000]}"
            ) from error
        return {"events": [self._normaliser.answer(event) for event in events]}

    def _headers(self, *, user: str, groups: tuple[str, ...], bearer: str) -> list[tuple[str, str]]:
        token = expand(bearer, self._variables) if bearer else self._target.token
        headers = [("Authorization", f"Bearer {token}"), ("User-Agent", "conformance/1")]
        if user:
            headers.append(("Impersonate-User", expand(user, self._variables)))
        headers += [("Impersonate-Group", expand(group, self._variables)) for group in groups]
        return headers

    def _url(self, path: str) -> URL:
        return URL(self._target.url + path, encoded=True)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async for line in answer.content:
        yield json.loads(line)


def _enough(step: Collect, events: list[Json]) -> bool:
    if step.bookmark:
        return bool(events) and _ends_initial(events[-1])
    return not step.closed and len(events) >= step.count


def _ends_initial(event: Json) -> bool:
    if event["type"] != "BOOKMARK":
        return False
    rows = event["object"].get("rows")
    meta = rows[0]["object"] if rows else event["object"]  # a table has it in its only row
    notes = ((meta or {}).get("metadata") or {}).get("annotations") or {}
    return bool(notes.get("k8s.io/initial-events-end") == "true")


def _unmet(until: Json, status: int, body: Any) -> str:
    """The first condition that does not hold, in words."""
    for pointer, wanted in until.items():
        got = status if pointer == "status" else pick(body, pointer)
        if got != wanted and (wanted != _ANY or got is NOTHING):
            return f"{pointer} is {got!r}, not {wanted!r}"
    return ""


def _parsed(answer: aiohttp.ClientResponse, data: bytes) -> Any:
    if data and "json" in answer.content_type:
        return json.loads(data)
    return data.decode(errors="replace")
