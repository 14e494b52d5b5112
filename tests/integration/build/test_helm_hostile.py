"""Charts that mean harm cost their own render and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import importlib.util
import io
import shutil
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from fluvial.build.errors import EngineFailed
from fluvial.build.helm.errors import (
    ChartInvalid,
    RenderError,
    RenderTimeout,
    RenderTooLarge,
    TemplateFailed,
)
from fluvial.build.helm.model import RenderedRelease, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.kube.capabilities import Capabilities
from fluvial.log import get_logger
from fluvial.workers.landlock import landlock_version
from fluvial.workers.pool import WorkerPool
from harness.charts import chart, packed
from harness.helm import need_helm

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

Render = Callable[..., Awaitable[RenderedRelease]]
HERE = Path(__file__).parent
LOOP = "{{ range until 10000 }}{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}{{ end }}"
BOMB = "{{ $a := until 100000000 }}{{ $b := until 100000000 }}{{ len $a }}{{ len $b }}"
FLOOD = "{{ range until 100000 }}" + "x" * 1000 + "{{ end }}"
DEEP = '{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}'


async def harmless(render: Render) -> None:
    """The next render is as ever."""
    rendered = await render(chart(templates__a="x: {{ .Release.Name }}"))

    assert rendered.files == {"app/templates/a.yaml": "x: demo"}


async def test_a_template_without_end_is_killed(render: Render) -> None:
    killed = pytest.raises(RenderTimeout, match="longer than 1 second")
    with structlog.testing.capture_logs() as logs, killed:
        await render(chart(templates__a=LOOP), timeout=1.0)

    assert [entry["event"] for entry in logs] == ["worker ended"]  # once, and not tried again
    await harmless(render)


@pytest.mark.parametrize(
    ("template", "kinds"),
    [
        (FLOOD, (RenderTooLarge, EngineFailed)),
        (DEEP, (TemplateFailed, EngineFailed)),
        ('{{ repeat 2000000000 "x" }}', (TemplateFailed, EngineFailed)),
    ],
    ids=["output", "depth", "repeat"],
)
async def test_a_template_that_takes_too_much_ends_itself(
    render: Render, template: str, kinds: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with pytest.raises(kinds):
        await render(chart(templates__a=template))

    await harmless(render)


async def test_cancelling_kills_the_render(render: Render, pool: WorkerPool) -> None:
    task = asyncio.ensure_future(render(chart(templates__a=LOOP)))
    while not pool._busy:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not pool._busy
    await harmless(render)


async def test_names_are_not_resolved(render: Render) -> None:
    rendered = await render(chart(templates__a='x: "{{ getHostByName "localhost" }}"'))

    assert rendered.files["app/templates/a.yaml"] == 'x: ""'


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "templates/../../x", "link"]
)
async def test_a_chart_has_its_own_files_only(render: Render, name: str) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path, text in {
            "app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
            "app/templates/a.yaml": f'{{{{ .Files.Get "{name}" | quote }}}}',
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("app/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    rendered = await render(target.getvalue())

    assert rendered.files["app/templates/a.yaml"] == '""'


def _bomb() -> bytes:
    """10 KB that unpack to 400 MB."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb") as stream:
        member = tarfile.TarInfo("app/big")
        member.size = 400 << 20
        stream.write(member.tobuf())
        for _ in range(400):
            stream.write(bytes(1 << 20))
    return target.getvalue()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (packed({"../Chart.yaml": "x"}), "leads elsewhere"),
        (packed({"a/../../x": "x"}), "leads elsewhere"),
        (packed({"/etc/x": "x"}, folder="app/"), "leads elsewhere"),
        (packed({"C:/x": "x"}), "leads elsewhere"),
        (packed({"Chart.yaml": "x"}, folder=""), "outside the chart"),
        (packed({"big": bytes(6 << 20)}), "larger than 5 MiB"),
        (packed({f"f{n}": bytes(5 << 20) for n in range(21)}), "larger than 100 MiB"),
        (packed({f"f{n}": b"" for n in range(10_001)}), "more than 10000 files"),
        (bytes(11 << 20), "larger than 10 MiB"),
    ],
    ids=["up", "inside-up", "absolute", "drive", "no-folder", "file", "all", "many", "packed"],
)
async def test_a_hostile_archive(render: Render, archive: bytes, message: str) -> None:
    with pytest.raises(ChartInvalid, match=message):
        await render(archive)


async def test_an_archive_that_unpacks_without_end(render: Render) -> None:
    with pytest.raises(ChartInvalid, match="larger than"):
        await render(_bomb())


async def test_archives_in_archives_have_one_budget(render: Render) -> None:
    inner = packed({"Chart.yaml": "apiVersion: v2\nname: in\nversion: 1.0.0\n"})
    for _ in range(12):
        inner = packed(
            {"Chart.yaml": "apiVersion: v2\nname: in\nversion: 1.0.0\n", "charts/in.tgz": inner}
        )
    with pytest.raises(ChartInvalid, match="nested deeper"):
        await render(inner)


async def test_memory_is_limited_and_what_fails_is_not_printed(render: Render) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(RenderError):
        await render(chart(templates__a=LOOP), {"password": "correct-horse"}, timeout=0.5)
    with structlog.testing.capture_logs() as more, pytest.raises(EngineFailed):
        await render(chart(templates__a=BOMB), {"password": "correct-horse"})

    assert [entry["output"] for entry in (*logs, *more) if "output" in entry] == [""] * 3
    await harmless(render)


@pytest_asyncio.fixture(loop_scope="module")
async def fenced() -> AsyncIterator[WorkerPool]:
    need_helm()
    if landlock_version() < 4:
        pytest.skip("the kernel has no Landlock that keeps connections")
    pool = engine_pool(log=get_logger("test"), size=1, keep_spare=False)
    pool._settings = dataclasses.replace(
        pool._settings,
        target="fence_jobs:run",
        env={**pool._settings.env, "PYTHONPATH": str(HERE)},
    )
    async with pool:
        yield pool


async def test_the_engine_s_own_threads_read_nothing_else(
    fenced: WorkerPool, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("correct-horse")
    for path in (secret, Path("/etc/passwd"), Path("/proc/1/environ"), Path("/proc/self/environ")):
        said = await fenced.call("read", {"path": str(path)}, timeout=10)

        assert "permission denied" in said["refused"], path


async def test_the_engine_s_own_threads_connect_nowhere(fenced: WorkerPool) -> None:
    connections: list[object] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(5):
            said = await fenced.call("connect", {"url": f"http://127.0.0.1:{port}"}, timeout=10)

            assert "permission denied" in said["refused"]

    assert connections == []


async def test_the_engine_has_no_environment(fenced: WorkerPool) -> None:
    said = await fenced.call("environment", {}, timeout=10)

    assert set(said["names"]) <= {
        *("PATH", "LANG", "HOME", "PYTHONPATH", "LC_CTYPE"),
        *("GOMEMLIMIT", "GOTRACEBACK", "GOMAXPROCS", "MALLOC_ARENA_MAX"),
    }


@pytest.mark.parametrize("library", ["text", "another"])
async def test_another_library_is_never_used(tmp_path: Path, library: str) -> None:
    need_helm()
    file = tmp_path / "libhelm_c.so"
    if library == "text":
        file.write_text("no library")
    else:
        spec = importlib.util.find_spec("orjson.orjson")
        assert spec is not None
        assert spec.origin is not None
        shutil.copy(spec.origin, file)
    pool = engine_pool(log=get_logger("test"), size=1, keep_spare=False)
    pool._settings = dataclasses.replace(
        pool._settings, env={**pool._settings.env, "HELM_C_LIB": str(file)}
    )
    wanted = RenderSpec("demo", "space", Capabilities.of_version("v1.33.4"))
    async with pool:
        with pytest.raises(EngineFailed, match="cannot be loaded on this system"):
            await HelmRenderer(pool).render(
                chart(templates__a="x: 1"), {}, wanted, timeout=9, trust_domain="test"
            )
