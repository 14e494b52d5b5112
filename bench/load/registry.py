"""``python -m bench.load.registry WHAT CONTENT FOLDER``: a registry that has the content.

WHAT is ``artifact`` (one layer as Flux pushes it) or ``chart`` (a chart as Helm pushes it).

The CNCF's own registry as a child where it is installed, else the tests' in this process.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from bench.load.podinfo import NAME, VERSION
from harness.helmcharts import chart_image, packed
from registries.fake import FakeRegistry
from registries.images import Image, image_of
from registries.real import RealRegistry, registry_path

__all__ = ["main"]

_ARTIFACT = ("podinfo", "latest")
_CHART = (f"charts/{NAME}", VERSION)


async def main(what: str, content: Path, folder: Path) -> None:
    """Push the files of ``content``, say ``ready URL``, serve until SIGINT or SIGTERM.

    Args:
        what: ``artifact`` or ``chart``.
        content: files of it.
        folder: new, for the registry's data.

    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    files = {
        str(file.relative_to(content)): file.read_text()
        for file in sorted(content.rglob("*"))
        if file.is_file()
    }
    is_chart = what == "chart"
    image: Image = chart_image(packed(files, folder=NAME)) if is_chart else image_of(files)
    repository, tag = _CHART if is_chart else _ARTIFACT
    shown = repository.rpartition("/")[0] if is_chart else repository
    if registry_path():
        async with RealRegistry(folder) as real:
            await real.put(repository, tag, image)
            await _serve(f"{real.oci}/{shown}", stop)
        return
    async with FakeRegistry() as fake:
        fake.put(repository, tag, image)
        await _serve(f"{fake.oci}/{shown}", stop)


async def _serve(url: str, stop: asyncio.Event) -> None:
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
