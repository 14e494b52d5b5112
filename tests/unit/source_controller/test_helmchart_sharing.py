"""What HelmCharts share, what they do not, and what is taken from a worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yarl

from fluvial.artifact.digest import Digest, digest_file
from fluvial.artifact.errors import DigestMismatch
from fluvial.clock import RealClock
from fluvial.net.tls import Tls
from source_controller.helm.building import Found, Wish
from source_controller.helm.client import HelmJobs
from source_controller.helm.errors import InvalidChart
from source_controller.helmchart.downloads import Download, Downloads, Room
from source_controller.helmchart.handing import handed
from source_controller.helmchart.http import domain_of
from source_controller.web.access import Access

HOME = yarl.URL("https://charts.example")


class Jobs(HelmJobs):
    """Finds every file to be a chart, and may do something to it meanwhile."""

    def __init__(self, harm: Callable[[Path], None] | None = None) -> None:
        self._harm = harm

    async def inspect(self, work: Path, wish: Wish, *, namespace: str) -> Found:
        assert namespace
        if self._harm is not None:
            self._harm(work / wish.path)
        return Found("app", "1.0.0", is_folder=False, path="")


def downloads(folder: Path, jobs: HelmJobs) -> Downloads:
    return Downloads(folder, clock=RealClock(), jobs=jobs, algorithm="sha256", max_file=1000)


def room(folder: Path, namespace: str = "apps") -> Room:
    work = folder / namespace / "run"
    work.mkdir(parents=True, exist_ok=True)
    return Room(work, namespace)


def fetching(text: str = "chart") -> Callable[[Path], Awaitable[Digest]]:
    async def fetch(target: Path) -> Digest:
        target.write_text(text)
        return Digest.parse(str(digest_file(target, "sha256")))

    return fetch


def what(access: Access, namespace: str, *, digest: str = "d") -> Download:
    return Download(domain_of(access, namespace), str(HOME), digest)


async def test_a_thousand_equal_charts_cost_one_download(tmp_path: Path) -> None:
    shared = downloads(tmp_path, Jobs())
    access = Access(HOME, "robot", "secret")
    charts = await asyncio.gather(
        *(
            shared.get(what(access, namespace), room(tmp_path, namespace), fetching())
            for namespace in ("apps", "other") * 500
        )
    )

    assert shared.count == 1
    assert len({chart.file for chart in charts}) == 1


OTHERS = {
    "password": (Access(HOME, "robot", "other"), "apps"),
    "nobody": (Access(HOME), "apps"),
    "user and password": (Access(HOME, "robotsecre", "t"), "apps"),
    "ca": (Access(HOME, "robot", "secret", Tls(ca="ca")), "apps"),
    "certificate": (Access(HOME, "robot", "secret", Tls(certificate="ca", key="k")), "apps"),
}


@pytest.mark.parametrize(("access", "namespace"), OTHERS.values(), ids=OTHERS)
def test_other_trust_is_another_download(access: Access, namespace: str) -> None:
    one = what(Access(HOME, "robot", "secret"), "apps")

    assert what(access, namespace) != one
    assert what(access, namespace) == what(access, namespace)


def test_a_ca_of_ones_own_stays_in_the_namespace() -> None:
    access = Access(HOME, tls=Tls(ca="ca"))

    assert what(access, "apps") != what(access, "other")
    assert "ca" not in what(access, "apps").domain[1][:2]
    assert what(Access(HOME), "apps") == what(Access(HOME), "other")
    assert what(Access(HOME), "apps") != what(Access(HOME), "apps", digest="e")


async def test_a_file_that_somebody_touched_is_fetched_again(tmp_path: Path) -> None:
    shared = downloads(tmp_path, Jobs())
    key = what(Access(HOME), "apps")
    first = await shared.get(key, room(tmp_path), fetching())
    first.file.write_text("other")
    second = await shared.get(key, room(tmp_path), fetching())

    assert shared.count == 2
    assert second.file.read_text() == "chart"


def _other_content(file: Path) -> None:
    file.write_text("what another namespace would get")


def _link(file: Path) -> None:
    secret = file.parents[2] / "secret"
    secret.write_text("chart")
    file.unlink()
    file.symlink_to(secret)


def _linked_folder(file: Path) -> None:
    """The same name, and the same content, by another way."""
    elsewhere = file.parents[2] / "elsewhere"
    elsewhere.mkdir()
    file.rename(elsewhere / file.name)
    file.parent.rmdir()
    file.parent.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("harm", "error"),
    [(_other_content, DigestMismatch), (_link, OSError), (_linked_folder, InvalidChart)],
    ids=["content", "link", "folder"],
)
async def test_what_a_worker_did_to_the_file(
    tmp_path: Path, harm: Callable[[Path], None], error: type[Exception]
) -> None:
    shared = downloads(tmp_path, Jobs(harm))
    with pytest.raises(error):
        await shared.get(what(Access(HOME), "apps"), room(tmp_path), fetching())

    assert not list((tmp_path / ".charts").glob("*")), "nothing is shared"


def test_a_worker_leaves_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidChart), handed(tmp_path, tmp_path / "pipe"):
        pass
    (tmp_path / "file").write_text("x")
    with handed(tmp_path, tmp_path / "file") as path:
        (tmp_path / "file").unlink()
        assert path.read_text() == "x", "what was opened, whatever is there now"
