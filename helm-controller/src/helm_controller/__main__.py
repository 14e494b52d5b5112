"""Entry point of helm-controller."""

from __future__ import annotations

import os
import sys

from fluvial.runtime.program import run_program
from helm_controller import app

__all__ = ["main"]


def main() -> int:
    """Run until a signal; the exit code."""
    return run_program(lambda: app.read_options(sys.argv[1:], os.environ), app.main)


if __name__ == "__main__":
    sys.exit(main())
