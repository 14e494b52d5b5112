"""The tenant's repository in the demo: a work tree and the bare repository that is served."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from fluvial.errors import FluvialError

__all__ = ["DemoRepository"]

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@example.com",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class DemoRepository:
    """A work tree that pushes to ``served/shop.git``."""

    def __init__(self, folder: Path) -> None:
        self.served = folder
        self._tree = folder / "shop"

    @classmethod
    async def create(cls, template: Path, folder: Path) -> DemoRepository:
        """Copy the template, make the first commit and push it."""
        self = cls(folder)
        shutil.copytree(template, self._tree)
        await self._git("init", "--quiet", "--initial-branch=main", str(self._tree), cwd=folder)
        await self._git("init", "--quiet", "--bare", str(folder / "shop.git"), cwd=folder)
        await self._git("remote", "add", "origin", str(folder / "shop.git"))
        await self.commit("First commit", {})
        return self

    async def commit(self, message: str, edits: Mapping[str, Callable[[str], str] | None]) -> str:
        """Edit files (``None`` removes one), commit, push; returns the commit's hash."""
        for name, edit in edits.items():
            path = self._tree / name
            if edit is None:
                path.unlink()
            else:
                path.write_text(edit(path.read_text() if path.exists() else ""))
        await self._git("add", "--all")
        await self._git("commit", "--quiet", "--message", message)
        await self._git("push", "--quiet", "origin", "HEAD:refs/heads/main")
        return await self.revision()

    async def revision(self) -> str:
        """The hash of the newest commit."""
        return await self._git("rev-parse", "HEAD")

    async def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=cwd or self._tree,
            env={"PATH": os.environ.get("PATH", os.defpath), **_IDENTITY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise FluvialError(f"git {arguments[0]} failed: {err.decode(errors='replace').strip()}")
        return out.decode().strip()
