"""``python -m faultproxy``: stand in front of a control plane until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson

from faultproxy.proxy import FaultProxy
from faultproxy.upstream import BadUpstream
from fluvial.kube import kubeconfig as documents

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; 0 then, 1 if the kubeconfig cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m faultproxy", description=__doc__)
    parser.add_argument("--upstream-kubeconfig", type=Path, required=True)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="written for clients")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--control-port", type=int, default=None, help="off unless given")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (OSError, BadUpstream, documents.InvalidKubeConfig) as error:
        sys.stderr.write(f"faultproxy: {error}\n")
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    document = documents.parse(options.upstream_kubeconfig.read_bytes())
    proxy = FaultProxy(document, port=options.port, control_port=options.control_port)
    async with proxy:
        _write_private(options.kubeconfig, orjson.dumps(proxy.kubeconfig()))
        sys.stdout.write(f"address {proxy.url}\n")
        if proxy.control_url:
            sys.stdout.write(f"control {proxy.control_url}\n")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


def _write_private(file: Path, data: bytes) -> None:
    """Whole or not at all, readable by its owner only."""
    temporary = file.with_name(file.name + ".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as output:
        output.write(data)
    temporary.replace(file)


if __name__ == "__main__":
    raise SystemExit(main())
