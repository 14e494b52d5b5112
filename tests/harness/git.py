"""Checkouts by the git job, each into a fresh folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from source_controller.git.client import GitClient
from source_controller.git.model import Checkout, CheckoutRequest, Reference

__all__ = ["Runner", "branch"]


class Runner:
    """Runs checkouts, each into a fresh folder, and remembers the last."""

    def __init__(self, client: GitClient, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._numbers = itertools.count()
        self.work = folder

    async def __call__(self, url: str, *, namespace: str = "apps", **fields: Any) -> Checkout:
        self.work = self._folder / f"work-{next(self._numbers)}"
        self.work.mkdir()
        request = CheckoutRequest(url=url, work=str(self.work), timeout=20, **fields)
        return await self._client.checkout(request, namespace=namespace)

    @property
    def tree(self) -> Path:
        return self.work / "tree"

    @property
    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.tree)) for p in self.tree.rglob("*") if not p.is_dir())


def branch(name: str = "main") -> Reference:
    """A reference to a branch."""
    return Reference(branch=name)
