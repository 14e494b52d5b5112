"""Play a script with kubectl and return its normalised outputs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.clients.plane import Plane, namespace
from conformance.clients.script import Command, Script, Step, Watch
from conformance.clients.text import Texts

__all__ = ["KUBECTL", "ScriptBroken", "play"]

KUBECTL = Path(sys.executable).parent / "kubectl"
Json = dict[str, Any]
_SECONDS = 45.0
_UNTIL_SECONDS = 20.0
_POLL_SECONDS = 0.1


class ScriptBroken(Exception):
    """A script could not be played to its end."""


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    out: str
    err: str


async def play(script: Script, plane: Plane) -> list[Json]:
    """The outputs of ``script``, one a recorded step.

    Raises:
        ScriptBroken: a command did not end, or preparation failed.

    """
    with tempfile.TemporaryDirectory(prefix="fluvial-kubectl-") as name:
        run = _Run(script, plane, Path(name))
        async with namespace(plane, script.space):
            try:
                return await run.all_steps()
            finally:
                await run.clean_up()


class _Run:
    def __init__(self, script: Script, plane: Plane, folder: Path) -> None:
        self._script = script
        self._work = folder / "here"
        self._work.mkdir()
        self._texts = Texts(server=plane.url, folder=str(folder))
        config = folder / "kubeconfig"
        config.write_text(json.dumps(plane.kubeconfig(script.space)))
        # Its own home: what one script's discovery found must not be another's cache.
        self._env = {
            "HOME": str(folder / "home"),
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(config),
            "LANG": "C",
            "GOGC": "off",  # a process that lives so shortly has nothing to collect
            "TZ": "UTC",
        }
        self._write(script.files)

    async def all_steps(self) -> list[Json]:
        answers: list[Json] = []
        for step in self._script.steps:
            answer = await self._step(step)
            if isinstance(step, Watch) or step.record:
                answers.append({"step": step.name, **answer})
        return answers

    async def clean_up(self) -> None:
        for line in self._script.after:
            await self._kubectl(line)

    async def _step(self, step: Step) -> Json:
        if isinstance(step, Watch):
            return {"out": self._texts.lines(await self._watch(step))}
        self._write(step.write)
        ended = await self._ended(step)
        if not step.record and ended.code:
            raise self._broken(step.name, ended.err or ended.out)
        out = self._texts.lines(ended.out)
        if step.keep:
            out = [line for line in out if re.search(step.keep, line)]
        if step.last:
            out = out[-1:]
        if step.sort:
            out.sort()
        answer: Json = {"code": ended.code, "out": out}
        if ended.err:
            answer["err"] = self._texts.lines(ended.err)
        return answer

    async def _ended(self, step: Command) -> _Ended:
        deadline = asyncio.get_running_loop().time() + _UNTIL_SECONDS
        while True:
            ended = await self._kubectl(step.run, stdin=step.stdin, env=step.env, name=step.name)
            if re.search(step.until, ended.out):
                return ended
            if asyncio.get_running_loop().time() > deadline:
                raise self._broken(step.name, f"never had {step.until!r}: {ended.out}{ended.err}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _kubectl(
        self, line: str, *, stdin: str = "", env: Mapping[str, str] | None = None, name: str = ""
    ) -> _Ended:
        process = await self._start(line, env or {})
        try:
            async with asyncio.timeout(_SECONDS):
                out, err = await process.communicate(self._expand(stdin).encode())
        except TimeoutError as error:
            process.kill()
            await process.communicate()
            raise self._broken(name or line, "did not end") from error
        return _Ended(process.returncode or 0, out.decode(), err.decode())

    async def _watch(self, step: Watch) -> str:
        process = await self._start(step.watch, {})
        assert process.stdout is not None
        lines: list[bytes] = []
        try:
            async with asyncio.timeout(_SECONDS):
                while len(lines) < step.lines:
                    line = await process.stdout.readline()
                    if not line:
                        raise self._broken(step.name, f"ended after {b''.join(lines).decode()!r}")
                    lines.append(line)
                    if len(lines) == step.first:
                        await self._meanwhile(step)
        except TimeoutError as error:
            text = b"".join(lines).decode()
            raise self._broken(step.name, f"too few lines: {text!r}") from error
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        return b"".join(lines).decode()

    async def _meanwhile(self, step: Watch) -> None:
        for line in step.then:
            ended = await self._kubectl(line)
            if ended.code:
                raise self._broken(step.name, f"{line}: {ended.err}")

    async def _start(self, line: str, env: Mapping[str, str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(KUBECTL),
            *shlex.split(self._expand(line)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._env, **env},
            cwd=self._work,
        )

    def _write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self._work / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._expand(text))
            if file.suffix == ".sh":
                file.chmod(0o700)

    def _expand(self, text: str) -> str:
        return text.replace("$NS", self._script.space)

    def _broken(self, step: str, why: str) -> ScriptBroken:
        return ScriptBroken(f"{self._script.id}: {step}: {why.strip()[:2000]}")
