"""``devcluster --kubeconfig FILE``: run until SIGINT or SIGTERM.

Prints ``address URL``, ``control URL`` if there is one, and ``ready`` once everything serves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson

from devcluster.addresses import AddressRefused
from devcluster.cluster import DevCluster, Options
from devcluster.state import StateError
from fluvial.log import setup_logging

__all__ = ["main"]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devcluster", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="written for the admin")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="an IP address to listen on; other than loopback only with --no-anonymous",
    )
    parser.add_argument(
        "--no-anonymous", action="store_true", help="refuse requests without credentials"
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--no-workloads", action="store_true", help="let nothing become healthy by itself"
    )
    parser.add_argument("--control-port", type=int, default=None, help="off unless given")
    parser.add_argument("--request-log", type=Path, default=None, help="JSON lines")
    parser.add_argument("--audit-log", type=Path, default=None, help="JSON lines")
    parser.add_argument(
        "--state", type=Path, default=None, help="keep the cluster in this file over restarts"
    )
    parser.add_argument(
        "--state-interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often to look whether there is something new to keep",
    )
    return parser.parse_args(argv)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


async def _run(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    options = Options(
        address=arguments.address,
        anonymous=not arguments.no_anonymous,
        port=arguments.port,
        workloads=not arguments.no_workloads,
        control_port=arguments.control_port,
        request_log=arguments.request_log,
        audit_log=arguments.audit_log,
        state=arguments.state,
        state_interval=arguments.state_interval,
    )
    async with DevCluster(options) as cluster:
        # JSON is YAML: every kubeconfig reader takes it.
        config = orjson.dumps(cluster.kubeconfig(), option=orjson.OPT_INDENT_2)
        write_private(arguments.kubeconfig, config)
        print(f"address {cluster.url}")  # noqa: T201 (the command's contract with scripts)
        if cluster.control_url:
            print(f"control {cluster.control_url}")  # noqa: T201 (as above)
        print("ready", flush=True)  # noqa: T201 (as above)
        await stop.wait()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    arguments = _arguments(argv)
    setup_logging()
    try:
        asyncio.run(_run(arguments))
    except (AddressRefused, StateError, OSError) as error:
        sys.stderr.write(f"devcluster: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
