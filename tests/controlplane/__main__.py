"""``python -m controlplane --kubeconfig FILE [--audit-log FILE]``: one control plane, in front.

Prints ``ready URL`` when it serves, runs until SIGINT or SIGTERM, and stops all that it started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from controlplane.build import ControlPlaneMissing
from controlplane.process import ChildDied
from controlplane.start import ControlPlane, StartFailed
from controlplane.workloads import Workloads

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; 0 then, 1 when something broke."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="written for the admin")
    parser.add_argument("--audit-log", type=Path, help="JSON lines, one a request")
    parser.add_argument(
        "--workloads", action="store_true", help="Pods become Running, Job pods succeed"
    )
    options = parser.parse_args(arguments)
    code = 0
    try:
        asyncio.run(_serve(options.kubeconfig, options.audit_log, workloads=options.workloads))
    except* (ControlPlaneMissing, ChildDied, StartFailed) as errors:
        sys.stderr.write(f"control plane: {errors.exceptions[0]}\n")
        code = 1
    return code


async def _serve(kubeconfig: Path, audit_log: Path | None, *, workloads: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ControlPlane(audit_log=audit_log) as plane, asyncio.TaskGroup() as group:
        _write_private(kubeconfig, json.dumps(plane.kubeconfig()))
        tasks = [group.create_task(plane.wait_broken(), name="control plane")]
        if workloads:
            stand_in = Workloads(url=plane.url, token=plane.admin_token, ssl=plane.ssl_context())
            tasks.append(group.create_task(stand_in.run(), name="workloads"))
        sys.stdout.write(f"ready {plane.url} {plane.version}\n")
        sys.stdout.flush()
        stopping = asyncio.create_task(stop.wait(), name="stop signal")
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *tasks):
            task.cancel()


def _write_private(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as output:
        output.write(text)


if __name__ == "__main__":
    raise SystemExit(main())
