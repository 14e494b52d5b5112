"""Repositories made by the git program, as a developer makes them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Repo", "git"]

_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Dev",
    "GIT_AUTHOR_EMAIL": "dev@example.com",
    "GIT_COMMITTER_NAME": "Dev",
    "GIT_COMMITTER_EMAIL": "dev@example.com",
    "LC_ALL": "C",
}


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in a folder; answers what it prints."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**_ENVIRONMENT, **(env or {})},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


class Repo:
    """A bare repository below a server's root, and a work tree to commit with."""

    def __init__(self, root: Path, name: str, *, branch: str = "main") -> None:
        self.name = name
        self.bare = root / name
        self.work = root.parent / "work" / name
        self.bare.mkdir(parents=True)
        git(self.bare, "init", "--quiet", "--bare", f"--initial-branch={branch}")
        self.work.mkdir(parents=True)
        git(self.work, "init", "--quiet", f"--initial-branch={branch}")
        git(self.work, "remote", "add", "origin", str(self.bare))
        self._seconds = 1_700_000_000

    def commit(self, files: Mapping[str, str | None], *, message: str = "Change") -> str:
        """Write (``None``: delete) files, commit and push all branches; answers the hash."""
        for path, content in files.items():
            target = self.work / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        git(self.work, "add", "--all")
        self._commit(message)
        return self.push()

    def mirror(self, url: str) -> None:
        """Push to another host from now on, and not below the server's root."""
        git(self.work, "remote", "set-url", "origin", url)

    def push(self) -> str:
        """Push branches and tags; answers the hash of HEAD."""
        git(self.work, "push", "--quiet", "--force", "origin", "--all")
        git(self.work, "push", "--quiet", "--force", "origin", "--tags")
        return git(self.work, "rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        """Create or change to a branch."""
        git(self.work, "checkout", "--quiet", "-B", name)

    def tag(self, name: str, *, annotated: bool = False) -> None:
        """Tag HEAD and push."""
        options = ["-a", "-m", f"Release {name}"] if annotated else []
        git(self.work, "tag", *options, name, env=self._dates())
        self.push()

    def add_submodule(self, child: Repo, path: str, url: str) -> None:
        """Add the head of another repository as a submodule, with any URL, and push."""
        commit = git(child.work, "rev-parse", "HEAD")
        modules = self.work / ".gitmodules"
        before = modules.read_text() if modules.exists() else ""
        modules.write_text(f'{before}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        git(self.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        git(self.work, "add", ".gitmodules")
        git(self.work, "commit", "-qm", "Add submodule", env=self._dates())
        self.push()

    def set_ref(self, ref: str, commit: str) -> None:
        """Set any reference in the bare repository."""
        git(self.bare, "update-ref", ref, commit)

    def _commit(self, message: str) -> None:
        git(
            self.work,
            *("commit", "--quiet", "--allow-empty", "-m", message),
            env=self._dates(),
        )

    def _dates(self) -> dict[str, str]:
        self._seconds += 60
        date = f"{self._seconds} +0000"
        return {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
