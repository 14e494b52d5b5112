"""``python -m harness.helm_child``: the Helm SDK behind a pipe; ``harness.helm`` has the protocol."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import helm_python
from helm_python import config as helm_config

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
    with _also(arguments.pop("also", {})):
        return getattr(config, method)(**arguments)


@contextmanager
def _also(more: dict[str, Any]) -> Iterator[None]:
    """Give the library options that its Python face does not have."""
    plain: Any = helm_config._opts

    def options(**given: Any) -> Any:
        return plain(**given, **more)

    helm_config._opts = options
    try:
        yield
    finally:
        helm_config._opts = plain


if __name__ == "__main__":
    raise SystemExit(main())
