"""Equal questions are asked once, and nobody suffers from who asked first."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any, cast

import pytest

from fluvial.api.codec import decode
from fluvial.api.source_oci import OCIRepository
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.clock import RealClock
from fluvial.cloud.identities import CloudIdentities
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.log import get_logger
from registries.fake import FakeRegistry
from registries.images import image_of
from source_controller.oci.registries import Registries
from source_controller.ocirepository.fetching import SourceStep
from source_controller.ocirepository.pulling import Pulls
from source_controller.ocirepository.run import OCIRun
from source_controller.source.once import Once
from source_controller.source.run import StatusWriter


class FakeClock(RealClock):
    """Its monotonic time is set by the test."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


class Work:
    """Something that takes until it is released."""

    def __init__(self) -> None:
        self.runs = 0
        self.release = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self) -> str:
        self.runs += 1
        number = self.runs
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return f"answer {number}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def once(clock: FakeClock) -> Once[str, str]:
    return Once(clock, keep=10.0, size=2)


async def test_who_asks_at_the_same_time_gets_one_answer(once: Once[str, str]) -> None:
    work = Work()
    tasks = [asyncio.create_task(once.get("key", work)) for _ in range(10)]
    await asyncio.sleep(0)
    work.release.set()

    assert set(await asyncio.gather(*tasks)) == {"answer 1"}
    assert work.runs == 1


async def test_other_keys_are_other_questions(once: Once[str, str]) -> None:
    work = Work()
    work.release.set()

    assert await once.get("a", work) == "answer 1"
    assert await once.get("b", work) == "answer 2"
    assert await once.get("a", work) == "answer 1"


async def test_answers_age(once: Once[str, str], clock: FakeClock) -> None:
    work = Work()
    work.release.set()
    await once.get("a", work)
    clock.time += 5

    assert await once.get("a", work) == "answer 1"
    assert await once.get("a", work, max_age=4) == "answer 2"
    clock.time += 11
    assert await once.get("a", work) == "answer 3"


async def test_an_answer_is_as_old_as_its_question(once: Once[str, str], clock: FakeClock) -> None:
    work = Work()
    task = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    clock.time += 11
    work.release.set()
    await task

    assert await once.get("a", work) == "answer 2"


async def test_only_so_many_answers_are_kept(once: Once[str, str]) -> None:
    work = Work()
    work.release.set()
    for key in "abc":
        await once.get(key, work)

    assert await once.get("c", work) == "answer 3"
    assert await once.get("a", work) == "answer 4"


async def test_only_so_much_is_kept_and_the_newest_in_any_case(clock: FakeClock) -> None:
    work = Work()
    work.release.set()
    once: Once[str, str] = Once(clock, keep=10.0, size=9, weigh=len, max_weight=len("answer 1 2 3"))
    for key in "ab":
        await once.get(key, work)

    assert await once.get("b", work) == "answer 2"
    assert await once.get("a", work) == "answer 3"
    heavy: Once[str, str] = Once(clock, keep=10.0, size=9, weigh=len, max_weight=1)
    assert await heavy.get("a", work) == await heavy.get("a", work)


async def test_who_wants_it_fresh_joins_nobody(once: Once[str, str]) -> None:
    work = Work()
    first = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(once.get("a", work, max_age=0))
    await asyncio.sleep(0)
    work.release.set()

    assert (await first, await second) == ("answer 1", "answer 2")


async def test_a_failure_is_told_to_all_and_not_kept(once: Once[str, str]) -> None:
    work = Work()
    work.error = FluvialError("no")
    tasks = [asyncio.create_task(once.get("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    work.release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [str(result) for result in results] == ["no"] * 3
    work.error = None
    assert await once.get("a", work) == "answer 2"


@pytest.mark.parametrize("end", ["cancelled", "deadline"])
async def test_the_end_of_the_first_is_not_the_end_of_the_others(
    end: str, once: Once[str, str]
) -> None:
    work = Work()
    first = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    if end == "cancelled":
        first.cancel()
    else:
        work.error = TimeoutError()
        work.release.set()
    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        await first
    work.error = None
    work.release.set()

    assert await second == "answer 2"


async def test_who_gives_up_waiting_harms_nobody(once: Once[str, str]) -> None:
    work = Work()
    first = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    second = asyncio.create_task(once.get("a", work))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    work.release.set()

    assert await first == "answer 1"


# --- a thousand objects ---------------------------------------------------------------------------


class NoWriter:
    """Progress is of no interest."""

    async def progress(self, run: Any) -> None:
        """Do nothing."""


def run_of(number: int, url: str) -> OCIRun:
    live = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": {"name": f"app-{number}", "namespace": f"team-{number % 7}"},
        "spec": {"url": url, "interval": "1h", "ref": {"tag": "v1"}},
    }
    return OCIRun.start(live, decode(live, OCIRepository), RealClock())


@pytest.mark.slow
async def test_a_thousand_equal_objects_cost_one_pull_and_one_file(
    fake: FakeRegistry, registries: Registries, tmp_path: Path, clock: FakeClock
) -> None:
    fake.put("app", "v1", image_of({"app.yaml": "x"}))
    storage = Storage(tmp_path, adv_addr="x:1", clock=clock, log=get_logger("test"))
    await storage.start()
    pulls = Pulls(
        tmp_path / ".work", clock=clock, limits=UnpackLimits(), algorithm=storage.algorithm
    )
    step = SourceStep(
        cast("KubeClient", None),  # no Secret is named
        registries,
        pulls,
        identities=cast("CloudIdentities", None),  # nor a provider
        clock=clock,
        writer=cast("StatusWriter", NoWriter()),
    )

    async def reconcile(number: int) -> int:
        run = run_of(number, f"{fake.oci}/app")
        fetched = await step.run(run)
        assert fetched.content is not None
        artifact = await storage.share_file(
            fetched.content.file,
            fetched.content.packed,
            path=storage.relative_path("OCIRepository", run.key, "sha256:x.tar.gz"),
            revision=fetched.resolved.revision,
        )
        return storage.local_path(artifact).stat().st_ino

    inodes = set(await asyncio.gather(*(reconcile(number) for number in range(1000))))

    assert len(inodes) == 1
    assert pulls.count == 1
    assert len(fake.paths("/v2/app/")) == 3, "the tag, the manifest, the blob"


async def test_a_file_goes_when_nobody_holds_it(
    fake: FakeRegistry, registries: Registries, tmp_path: Path, clock: FakeClock
) -> None:
    fake.put("app", "v1", image_of({"app.yaml": "x"}))
    pulls = Pulls(tmp_path, clock=clock, limits=UnpackLimits(), algorithm="sha256")
    step = SourceStep(
        cast("KubeClient", None),
        registries,
        pulls,
        identities=cast("CloudIdentities", None),  # nor a provider
        clock=clock,
        writer=cast("StatusWriter", NoWriter()),
    )
    fetched = await step.run(run_of(1, f"{fake.oci}/app"))
    assert fetched.content is not None
    file = fetched.content.file
    clock.time += 601
    await step.run(run_of(2, f"{fake.oci}/app"))
    assert file.exists(), "somebody still holds it"

    del fetched
    gc.collect()
    assert not file.exists()


async def test_a_file_that_somebody_touched_is_pulled_again(
    fake: FakeRegistry, registries: Registries, tmp_path: Path, clock: FakeClock
) -> None:
    fake.put("app", "v1", image_of({"app.yaml": "x"}))
    pulls = Pulls(tmp_path, clock=clock, limits=UnpackLimits(), algorithm="sha256")
    step = SourceStep(
        cast("KubeClient", None),
        registries,
        pulls,
        identities=cast("CloudIdentities", None),  # nor a provider
        clock=clock,
        writer=cast("StatusWriter", NoWriter()),
    )
    first = await step.run(run_of(1, f"{fake.oci}/app"))
    assert first.content is not None
    first.content.file.write_bytes(b"evil")
    second = await step.run(run_of(2, f"{fake.oci}/app"))

    assert second.content is not None
    assert second.content.file.read_bytes() != b"evil"
    assert second.content.packed == first.content.packed
