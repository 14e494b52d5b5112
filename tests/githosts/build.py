"""Find Gitea, or build it once from its published Go module.

``python -m githosts.build`` fills the cache: it compiles the module that ``gitea/go.mod`` names,
with every checksum in ``gitea/go.sum``, and renames the finished folder into place. The program
reads its templates and translations from the folder; pages of the module's web frontend are not
built, for nobody looks at them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

__all__ = ["BuildFailed", "build", "cache_folder", "need_gitea"]

_MODULE = "code.gitea.io/gitea"
_HERE = Path(__file__).parent / "gitea"
_READ = ("options", "public", "templates")
_REQUIRE = "FLUVIAL_REQUIRE_GITEA"
_BUILD_SECONDS = 3600.0


class BuildFailed(Exception):
    """Gitea could not be built; the message says what is missing or what Go said."""


def need_gitea() -> Path:
    """The folder with the program and what it reads; without it a test is skipped, or fails."""
    folder = cache_folder()
    if os.access(folder / "gitea", os.X_OK):
        return folder
    missing = "Gitea is not built: make gitea"
    if os.environ.get(_REQUIRE) == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def cache_folder() -> Path:
    """The folder that a build of this very go.mod and go.sum fills, for this machine."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    texts = [(_HERE / name).read_bytes() for name in ("go.mod", "go.sum")]
    digest = hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]
    version = re.search(rf"{re.escape(_MODULE)} (v\S+)", texts[0].decode())
    assert version is not None
    return base / "fluvial" / "gitea" / f"{version[1]}-{platform.machine()}-{digest}"


def build() -> Path:
    """Build into the cache unless that has been done; safe to run twice at once.

    Takes some minutes the first time.

    Raises:
        BuildFailed: no Go, no C compiler, or a compile or download error.

    """
    target = cache_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.access(target / "gitea", os.X_OK):
            return target
        shutil.rmtree(target, ignore_errors=True)
        sys.stderr.write(f"building {target.name}\n")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as room:
            staging = Path(room) / "gitea"
            tags = ("-tags", "sqlite sqlite_unlock_notify", "-ldflags", "-s -w")
            _go("build", "-trimpath", "-buildvcs=false", *tags, "-o", str(staging) + "/", _MODULE)
            module = Path(_go("list", "-m", "-f", "{{.Dir}}", _MODULE))
            for name in _READ:
                shutil.copytree(module / name, staging / name, copy_function=shutil.copyfile)
            for folder in (staging, *(one for one in staging.rglob("*") if one.is_dir())):
                folder.chmod(0o755)  # the module's are read only
            staging.rename(target)
    return target


def _go(verb: str, *arguments: str) -> str:
    env = {**os.environ, "CGO_ENABLED": "1", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            ["go", verb, "-mod=readonly", *arguments],
            cwd=_HERE,
            env=env,
            capture_output=True,
            check=False,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except OSError as error:
        raise BuildFailed(f"Gitea is built with Go, which cannot be run: {error}") from error
    if done.returncode != 0:
        raise BuildFailed(f"go {verb} failed:\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def main() -> int:
    """Build, and print the folder on standard output."""
    try:
        folder = build()
    except BuildFailed as error:
        sys.stderr.write(f"gitea: {error}\n")
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
