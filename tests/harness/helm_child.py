"""``python -m harness.helm_child``: the Helm SDK behind a pipe; ``harness.helm`` has the protocol."""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python

__all__ = ["main"]


def main() -> int:
    """Serve until the input ends."""
    with helm_python.Config(**json.loads(sys.stdin.readline())) as config:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": _do(config, request["do"], request["with"])}
            except helm_python.HelmError as error:
                answer = {"error": type(error).__name__, "message": str(error)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    return 0


def _do(config: helm_python.Config, method: str, arguments: dict[str, Any]) -> Any:
    if method == "version":
        return helm_python.helm_sdk_version()
    return getattr(config, method)(**arguments)


if __name__ == "__main__":
    raise SystemExit(main())
