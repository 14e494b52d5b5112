"""What a start reads of what is stored, and in which order it works."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from fluvial.api.codec import encode
from fluvial.api.meta import Artifact
from fluvial.artifact.errors import DigestMismatch
from fluvial.artifact.server import FileServer
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.kube.informer import Informer
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.queue import WorkQueue
from source_controller.source.shard import Shard

KIND = "GitRepository"
COUNT, SIZE = 100, 5000


class LaterClock(RealClock):
    """A minute later, when no file was written just now."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=60)


def storage_at(base: Path) -> Storage:
    return Storage(base, adv_addr="x:1", clock=LaterClock(), log=get_logger("test"))


@dataclass
class Known:
    """The part of an informer that a shard needs."""

    store: Store


@dataclass
class Stored:
    """A storage with artifacts, as a process leaves it."""

    base: Path
    artifacts: dict[ObjectKey, Artifact]

    def shard(self, storage: Storage) -> Shard:
        """All of them, in a process that knows nothing yet."""
        store = Store()
        for key, artifact in self.artifacts.items():
            store.put(_object(key, artifact))
        everyone = cast("Informer", Known(store))
        return Shard(
            KIND,
            own=everyone,
            everyone=everyone,
            storage=storage,
            log=get_logger("test"),
            look_again=30,
        )


def _object(key: ObjectKey, artifact: Artifact) -> JsonObject:
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": KIND,
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "uid": key.name,
            "resourceVersion": "1",
        },
        "status": {"artifact": encode(artifact)},
    }


@pytest.fixture
async def stored(tmp_path: Path) -> Stored:
    storage = storage_at(tmp_path / "data")
    await storage.start()
    source = tmp_path / "source"
    artifacts = {}
    for number in range(COUNT):
        source.write_bytes(os.urandom(SIZE))
        key = ObjectKey("apps", f"app-{number}")
        path = storage.relative_path(KIND, key, "x.tar.gz")
        artifacts[key] = await storage.store_file(source, path=path, revision="1")
        old = storage.local_path(artifacts[key])
        os.utime(old, (1, 1))
    storage.stop()
    return Stored(tmp_path / "data", artifacts)


@pytest.mark.slow
async def test_every_byte_is_read_once(stored: Stored) -> None:
    """By the check at the start, by each reconcile, and by consumers' requests, together."""
    storage = storage_at(stored.base)
    await storage.start()
    queue: WorkQueue[ObjectKey] = WorkQueue()
    server = FileServer(
        stored.base, log=get_logger("test"), algorithm="sha256", digests=storage.digests
    )
    host, port = await server.start("127.0.0.1:0")
    await stored.shard(storage).check_stored(queue)
    for artifact in stored.artifacts.values():
        await storage.verify(artifact)
    async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
        for artifact in stored.artifacts.values():
            async with http.head(f"/{artifact.path}") as response:
                assert response.headers["ETag"] == f'"{artifact.digest}"'
    await server.stop()
    storage.stop()

    assert storage.digests.bytes_read == COUNT * SIZE
    assert len(queue) == 0


@pytest.mark.slow
async def test_what_is_wrong_comes_first_and_is_noticed_whenever_it_happens(
    stored: Stored,
) -> None:
    altered, gone, forged, later = list(stored.artifacts)[:4]
    storage = storage_at(stored.base)
    for key in (altered,):
        file = storage.local_path(stored.artifacts[key])
        with file.open("r+b") as out:
            out.write(b"altered")
        os.utime(file, (1, 1))
    storage.local_path(stored.artifacts[gone]).unlink()
    stored.artifacts[forged] = stored.artifacts[later]
    await storage.start()
    queue: WorkQueue[ObjectKey] = WorkQueue()
    for key in stored.artifacts:
        queue.add(key, low_priority=True)
    await stored.shard(storage).check_stored(queue)

    assert {await queue.get() for _ in range(3)} == {altered, gone, forged}
    with storage.local_path(stored.artifacts[later]).open("r+b") as out:
        out.write(b"altered")
    os.utime(storage.local_path(stored.artifacts[later]), (1, 1))
    with pytest.raises(DigestMismatch):
        await storage.verify(stored.artifacts[later])
    storage.stop()
