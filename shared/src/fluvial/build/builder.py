"""From an artifact's tree to objects: generate, scan, copy, build, check.

Called by the Kustomization reconciler with a tree that the fetcher holds open. Invariants: the
tree is never changed; a result is a function of (artifact digest, build spec) alone, so it is
cached under them and built once however many ask at the same time; nobody can change what
another gets; nothing decrypted or substituted passes through here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluvial.artifact.threads import in_thread
from fluvial.build.cache import BuildCache, Encoded, decode, encode
from fluvial.build.errors import (
    BuildError,
    BuildTimeout,
    DuplicateObject,
    EngineFailed,
    KustomizeError,
)
from fluvial.build.generate import RootKustomization, generate
from fluvial.build.kustomize import KustomizeEngine
from fluvial.build.pace import Pace
from fluvial.build.scan import scan
from fluvial.build.spec import BuildSpec
from fluvial.build.view import private_view
from fluvial.clock import Clock
from fluvial.objects import JsonObject, ObjectRef, gvk_of, key_of, ref_of

__all__ = ["BuildResult", "BuildSpec", "Builder", "checked"]

_KUSTOMIZE_GROUP: Final = "kustomize.config.k8s.io"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build gave.

    Attributes:
        objects: in the order of the files, without duplicates; the caller's own.
        cached: whether nothing had to be built for this call.
        seconds: how long the call took.

    """

    objects: tuple[JsonObject, ...]
    cached: bool
    seconds: float


class Builder:
    """Builds, each only once.

    Args:
        engine: kustomize.
        cache: results without secrets.
        clock: for durations.
        work_dir: existing folder for private copies, best on the file system of the artifacts.

    """

    def __init__(
        self, engine: KustomizeEngine, cache: BuildCache, clock: Clock, *, work_dir: Path
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._clock = clock
        self._work_dir = work_dir
        self._running: dict[str, asyncio.Future[Encoded | BuildError | None]] = {}
        """Builds that others may wait for; ``None`` is the result of one that was cancelled."""

    async def build(
        self,
        tree: Path,
        spec: BuildSpec,
        *,
        cache_key: str,
        timeout: float,
        dropped_links: Sequence[str] = (),
    ) -> BuildResult:
        """Build ``spec`` in ``tree``.

        Args:
            tree: extracted artifact; stays in place and unchanged until this returns.
            spec: what to build.
            cache_key: digest of the artifact; ``""`` neither uses nor fills the cache.
            timeout: seconds for everything.
            dropped_links: links of the source that are not in the tree, relative to it.

        Raises:
            BuildError: with a message for the object's status; see ``fluvial.build.errors``.

        """
        start = self._clock.monotonic()
        try:
            async with asyncio.timeout(timeout):
                key = f"{cache_key}/{spec.digest()}" if cache_key else ""
                entry, cached = await self._obtain(tree, spec, key, timeout, dropped_links)
                objects = await _decoded(entry)
        except TimeoutError:
            raise BuildTimeout(f"the build took longer than {timeout:g} seconds") from None
        seconds = self._clock.monotonic() - start
        return BuildResult(objects, cached, seconds)

    async def _obtain(
        self, tree: Path, spec: BuildSpec, key: str, timeout: float, dropped_links: Sequence[str]
    ) -> tuple[Encoded, bool]:
        while key:
            entry = self._cache.get(key)
            if entry is not None:
                return entry, True
            running = self._running.get(key)
            if running is None:
                break
            outcome = await asyncio.shield(running)
            if isinstance(outcome, BuildError):
                raise outcome
            if outcome is not None:
                return outcome, True
        with self._announced(key) as announced:
            entry = await self._run(tree, spec, timeout, dropped_links)
            announced.append(entry)
        if key:
            self._cache.put(key, entry)
        return entry, False

    @contextlib.contextmanager
    def _announced(self, key: str) -> Iterator[list[Encoded]]:
        """Let others wait for the build of ``key``, and tell them how it ended."""
        running: asyncio.Future[Encoded | BuildError | None] = (
            asyncio.get_running_loop().create_future()
        )
        results: list[Encoded] = []
        failure: BuildError | None = None
        if key:
            self._running[key] = running
        try:
            yield results
        except (BuildTimeout, EngineFailed):
            # Theirs may have more time, or more luck.
            raise
        except BuildError as error:
            failure = error
            raise
        finally:
            self._running.pop(key, None)
            running.set_result(results[0] if results else failure)

    async def _run(
        self, tree: Path, spec: BuildSpec, timeout: float, dropped_links: Sequence[str]
    ) -> Encoded:
        try:
            start, needed = await in_thread(lambda _: self._prepare(tree, spec, dropped_links))
            async with private_view(tree, work_dir=self._work_dir, only=needed) as root:
                await in_thread(lambda _: start.write(root))
                objects = await self._engine.build(root, start.folder, timeout=timeout)
        except OSError as error:
            problem = error.strerror or type(error).__name__
            raise EngineFailed(f"the artifact cannot be copied or read: {problem}") from error
        return await _encoded(objects)

    def _prepare(
        self, tree: Path, spec: BuildSpec, dropped_links: Sequence[str]
    ) -> tuple[RootKustomization, frozenset[str] | None]:
        tree = tree.resolve(strict=True)
        start = generate(tree, spec, dropped_links=dropped_links)
        needed = scan(tree, start, dropped_links=dropped_links, fenced=self._engine.fenced)
        # The root file is written anew, and may not be in the artifact at all.
        return start, None if needed is None else needed - {start.file}


async def _encoded(documents: list[JsonObject]) -> Encoded:
    pace, entry = Pace(), []
    for obj in checked(documents):
        entry.append(encode(obj))
        await pace.breathe()
    return tuple(entry)


async def _decoded(entry: Encoded) -> tuple[JsonObject, ...]:
    pace, objects = Pace(), []
    for encoded in entry:
        objects.append(decode(encoded))
        await pace.breathe()
    return tuple(objects)


def checked(documents: Iterable[JsonObject]) -> Iterator[JsonObject]:
    """The objects among what was built: lists opened, settings of kustomize left out.

    Raises:
        KustomizeError: something is not an object with apiVersion, kind and name.
        DuplicateObject: two objects are the same object.

    """
    seen: dict[ObjectRef, tuple[int, str]] = {}
    for position, obj in enumerate(_opened(documents), start=1):
        ref, version = ref_of(obj), gvk_of(obj).api_version
        if ref in seen:
            first, first_version = seen[ref]
            raise DuplicateObject(
                f"{ref} occurs twice: as {first_version} (object {first} of the build) and as"
                f" {version} (object {position}); remove or rename one of them"
            )
        seen[ref] = (position, version)
        yield obj


def _opened(documents: Iterable[JsonObject]) -> Iterator[JsonObject]:
    for document in documents:
        if not isinstance(document, dict):
            raise KustomizeError("the build gave something that is not an object")
        items = document.get("items")
        if isinstance(items, list) and str(document.get("kind")).endswith("List"):
            yield from (item for item in items if isinstance(item, dict) and not _missing(item))
        elif gvk_of(document).group != _KUSTOMIZE_GROUP:
            _check(document)
            yield document


def _check(obj: JsonObject) -> None:
    missing = _missing(obj)
    if missing:
        raise KustomizeError(
            f"an object of the build has no {missing}: apiVersion {obj.get('apiVersion')!r}, kind"
            f" {obj.get('kind')!r}, name {key_of(obj).name!r}"
        )


def _missing(obj: JsonObject) -> str:
    if not isinstance(obj.get("apiVersion"), str) or not obj["apiVersion"]:
        return "apiVersion"
    if not isinstance(obj.get("kind"), str) or not obj["kind"]:
        return "kind"
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return "" if isinstance(name, str) and name else "metadata.name"
