"""``python -m bench.load.registry CONTENT FOLDER``: a registry that has the content as an artifact.

The CNCF's own registry as a child where it is installed, else the tests' in this process.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from registries.fake import FakeRegistry
from registries.images import image_of
from registries.real import RealRegistry, registry_path

__all__ = ["main"]

_REPOSITORY = "podinfo"
_TAG = "latest"


async def main(content: Path, folder: Path) -> None:
    """Push the files of ``content``, say ``ready URL``, serve until SIGINT or SIGTERM.

    Args:
        content: files, which become one layer as Flux pushes it.
        folder: new, for the registry's data.

    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    image = image_of({file.name: file.read_text() for file in sorted(content.iterdir())})
    if registry_path():
        async with RealRegistry(folder) as real:
            await real.put(_REPOSITORY, _TAG, image)
            await _serve(real.oci, stop)
        return
    async with FakeRegistry() as fake:
        fake.put(_REPOSITORY, _TAG, image)
        await _serve(fake.oci, stop)


async def _serve(url: str, stop: asyncio.Event) -> None:
    sys.stdout.write(f"ready {url}/{_REPOSITORY}\n")
    sys.stdout.flush()
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
