"""Entry point of helm-controller, which is not written yet and says so."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Say that this controller does not exist yet; exit status 2."""
    sys.stderr.write(
        "helm-controller: not written yet. This version runs source-controller, kustomize-controller and notification-controller.\n"
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
