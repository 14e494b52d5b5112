"""Records in Secrets: the lock, the limit, what is told of writes, and records nobody can read."""

from __future__ import annotations

import asyncio
import base64
import secrets

import msgspec
import pytest
from msgspec import Raw

from fluvial.helm.errors import (
    CorruptRecord,
    RecordTooLarge,
    ReleaseExists,
    ReleaseNotFound,
    StorageError,
)
from fluvial.helm.release import Status
from fluvial.helm.seen import Revision, SeenRecords
from fluvial.helm.storage import RELEASE_TYPE, ReleaseStorage, secret_name
from fluvial.kube.errors import Forbidden, Unreachable
from fluvial.kube.kinds import SECRET
from fluvial.objects import JsonObject, ObjectKey
from integration.helm.helm_world import HelmWorld, release


async def test_what_is_written_is_read(world: HelmWorld) -> None:
    made = release(1, labels={"team": "a"})
    await world.storage.create(made)

    assert await world.storage.get("app", 1) == made
    assert await world.storage.last("app") == made
    assert await world.storage.deployed("app") == made
    assert world.seen == ["v1 deployed"]
    assert await world.secrets() == {
        "sh.helm.release.v1.app.v1": {
            "name": "app",
            "owner": "helm",
            "status": "deployed",
            "team": "a",
            "version": "1",
        }
    }


async def test_of_two_that_make_a_revision_one_loses(world: HelmWorld) -> None:
    results = await asyncio.gather(
        *(world.storage.create(release(4, config={"by": n})) for n in range(5)),
        return_exceptions=True,
    )

    assert [type(result) for result in results].count(ReleaseExists) == 4
    assert world.seen == ["v4 deployed"]


async def test_an_update_keeps_labels_and_says_when(world: HelmWorld) -> None:
    await world.storage.create(release(1, "pending-install", labels={"team": "a"}))
    loaded = await world.storage.last("app")
    await world.storage.update(loaded.with_status(Status.DEPLOYED, "done"))

    secret = await world.world.live(secret_name("app", 1), SECRET)
    labels = secret["metadata"]["labels"]
    assert secret["type"] == RELEASE_TYPE
    assert labels["team"] == "a"
    assert labels["status"] == "deployed"
    assert labels["createdAt"].isdigit()
    assert labels["modifiedAt"].isdigit()
    assert (await world.storage.last("app")).info.description == "done"
    assert world.seen == ["v1 pending-install", "v1 deployed"]


async def test_what_is_gone_cannot_be_updated_but_deleted(world: HelmWorld) -> None:
    with pytest.raises(ReleaseNotFound):
        await world.storage.update(release(1))
    assert world.seen == []

    await world.storage.delete(release(1))
    for read in (world.storage.last, world.storage.deployed):
        with pytest.raises(ReleaseNotFound):
            await read("app")
    assert await world.storage.history("app") == []


async def test_revisions_are_in_their_order_and_of_one_name(world: HelmWorld) -> None:
    for version in (10, 9, 2):
        await world.storage.create(release(version, "superseded"))
    await world.storage.create(release(11, name="app.v1"))
    await world.storage.create(release(12, name="other"))

    assert await world.storage.revisions("app") == [
        Revision("app", version, Status.SUPERSEDED) for version in (2, 9, 10)
    ]
    assert [one.version for one in await world.storage.history("app")] == [2, 9, 10]


async def test_a_number_that_helm_does_not_write_is_no_revision(world: HelmWorld) -> None:
    """Nobody could read or replace it under the name that it stands for."""
    await world.storage.create(release(1))
    key = ObjectKey(world.namespace, f"{secret_name('app', 1)[:-1]}02")
    labels = {"owner": "helm", "name": "app", "status": "deployed", "version": "2"}
    odd = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": key.namespace, "name": key.name, "labels": labels},
        "type": RELEASE_TYPE,
    }
    await world.world.admin.create(SECRET, odd, field_manager="test")

    assert [one.version for one in await world.storage.revisions("app")] == [1]
    assert (await world.storage.last("app")).version == 1


@pytest.mark.parametrize(
    ("statuses", "kept"),
    [
        (["superseded", "superseded", "deployed"], [2, 3, 4]),
        (["deployed", "failed", "failed"], [1, 3, 4]),
        (["failed", "failed", "failed"], [2, 3, 4]),
        (["deployed"], [1, 4]),
    ],
    ids=["oldest-go", "deployed-stays", "none-deployed", "room-enough"],
)
async def test_the_limit_spares_what_is_deployed(
    world: HelmWorld, statuses: list[str], kept: list[int]
) -> None:
    for version, status in enumerate(statuses, start=1):
        await world.storage.create(release(version, status))
    await world.storage.create(release(4, "pending-upgrade"), limit=3)

    assert [one.version for one in await world.storage.revisions("app")] == kept


async def test_all_revisions_can_be_purged(world: HelmWorld) -> None:
    for version in (1, 2, 3):
        await world.storage.create(release(version))
    await world.storage.create(release(1, name="other"))
    world.seen.clear()
    await world.storage.purge(release(3, "uninstalled"))

    assert world.seen == ["v3 uninstalled"]
    assert list(await world.secrets()) == ["sh.helm.release.v1.other.v1"]


async def _spoil(world: HelmWorld, version: int, **body: object) -> None:
    key = ObjectKey(world.namespace, secret_name("app", version))
    await world.world.admin.patch(SECRET, key, body, patch_type="merge", field_manager="test")


@pytest.mark.parametrize(
    "data",
    [
        {"release": base64.b64encode(b"H4sI broken").decode()},
        {"release": None},
        {"release": "", "other": base64.b64encode(b"x").decode()},
    ],
    ids=["garbage", "no-key", "empty"],
)
async def test_the_newest_record_must_be_readable(world: HelmWorld, data: JsonObject) -> None:
    await world.storage.create(release(1, "superseded"))
    await world.storage.create(release(2))
    await _spoil(world, 2, data=data)

    with pytest.raises(CorruptRecord, match=r"sh\.helm\.release\.v1\.app\.v2"):
        await world.storage.last("app")
    assert [one.version for one in await world.storage.history("app")] == [1]
    assert len(await world.storage.revisions("app")) == 2


async def test_the_record_of_another_release_is_corrupt(world: HelmWorld) -> None:
    await world.storage.create(release(1))
    await world.storage.create(release(1, name="other"))
    other = await world.world.live(secret_name("other", 1), SECRET)
    await _spoil(world, 1, data=other["data"])

    with pytest.raises(CorruptRecord, match="another release"):
        await world.storage.last("app")


async def test_a_release_that_does_not_fit_is_refused_before_anything_is_written(
    world: HelmWorld,
) -> None:
    await world.storage.create(release(1))
    noise = base64.b64encode(secrets.token_bytes(1024**2)).decode()
    chart = Raw(b'{"metadata":{"name":"big"},"files":["' + noise.encode() + b'"]}')

    with pytest.raises(RecordTooLarge, match="make the chart smaller"):
        await world.storage.create(release(2, chart=chart), limit=1)
    assert [one.version for one in await world.storage.revisions("app")] == [1]


async def test_a_large_release_is_written_and_read(world: HelmWorld) -> None:
    noise = base64.b64encode(secrets.token_bytes(300 * 1024)).decode()
    chart = Raw(b'{"metadata":{"name":"small","version":"1.2.3","apiVersion":"v2"},"files":["'
                + noise.encode() + b'"]}')  # fmt: skip
    made = release(1, chart=chart)
    await world.storage.create(made)

    assert await world.storage.last("app") == made


async def test_what_json_does_not_have_is_not_stored(world: HelmWorld) -> None:
    with pytest.raises(StorageError, match="cannot be stored"):
        await world.storage.create(release(1, config={"n": float("nan")}))
    assert await world.secrets() == {}


async def test_a_create_without_an_answer_may_have_happened(world: HelmWorld) -> None:
    async def lost(verb: str, name: str) -> None:
        if verb == "create":
            raise Unreachable("connection reset")

    world.world.spy.after = lost
    await world.storage.create(release(1))

    assert world.seen == ["v1 deployed"]


async def test_a_create_that_did_not_happen_is_an_error(world: HelmWorld) -> None:
    async def lost(verb: str, name: str) -> None:
        if verb == "create":
            raise Unreachable("connection reset")

    world.world.spy.before = lost
    with pytest.raises(Unreachable):
        await world.storage.create(release(1))

    assert world.seen == []
    assert await world.secrets() == {}


async def test_everything_is_done_as_the_tenant(world: HelmWorld) -> None:
    await world.storage.create(release(1))
    stranger = ReleaseStorage(world.world.as_user("stranger"), world.namespace)

    with pytest.raises(Forbidden):
        await stranger.last("app")
    with pytest.raises(Forbidden):
        await stranger.create(release(2))
    with pytest.raises(Forbidden):
        await stranger.update(release(1))
    assert msgspec.structs.replace(await world.storage.last("app")) == release(1)


async def test_who_was_slower_forgets_what_it_has_seen(world: HelmWorld) -> None:
    mine = ReleaseStorage(world.world.spy, world.namespace, seen=SeenRecords())
    assert await mine.revisions("app") == []
    await world.storage.create(release(1))
    assert await mine.revisions("app") == [], "of what it asked once"

    with pytest.raises(ReleaseExists):
        await mine.create(release(1))

    assert [one.version for one in await mine.revisions("app")] == [1]


async def test_what_a_run_has_written_is_what_it_would_read(world: HelmWorld) -> None:
    mine = ReleaseStorage(world.world.spy, world.namespace, seen=SeenRecords())
    await mine.revisions("app")
    await mine.create(release(1, "pending-install"))
    await mine.update(release(1))

    theirs = await world.storage.revisions("app")
    assert await mine.revisions("app") == theirs
    assert [one.stamp for one in await mine.revisions("app")] == [one.stamp for one in theirs]
    assert await mine.last("app") == await world.storage.last("app")
    await mine.purge(release(1))
    assert await mine.revisions("app") == await world.storage.revisions("app") == []
