"""``python -m bench.load.gitserver FOLDER``: the command's Git server as a process of its own.

So that its CPU time is not the harness's, and that it does not delay what the harness observes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from fluvial_cli.gitserver import GitServer

__all__ = ["main"]


async def main(folder: Path) -> None:
    """Serve the bare repositories below ``folder`` until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with GitServer(folder) as server:
        sys.stdout.write(f"ready {server.url}/shop.git\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
