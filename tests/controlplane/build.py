"""Find the programs of the real control plane, or build them once from published Go modules.

They are looked for in ``KUBEBUILDER_ASSETS``, the folder that every Kubernetes project uses, then
in this project's cache. ``python -m controlplane.build`` fills the cache: it compiles the modules
that ``go.mod`` names, under a lock, and renames the finished folder into place, so that a reader
sees all three programs or none.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "PROGRAMS",
    "Binaries",
    "BuildFailed",
    "ControlPlaneMissing",
    "build",
    "cache_folder",
    "find_binaries",
]

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
_HERE = Path(__file__).parent
_PACKAGES = (
    "go.etcd.io/etcd/server/v3",
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
)
_BUILD_SECONDS = 3600.0


class ControlPlaneMissing(Exception):
    """No complete set of programs was found; the message says where and what to do."""


class BuildFailed(Exception):
    """The programs could not be built; the message says what to install or what Go said."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """One folder with the three programs, and the Kubernetes version as in ``v1.37.2``."""

    folder: Path
    version: str

    def path(self, program: str) -> Path:
        """Where ``program``, one of ``PROGRAMS``, is."""
        return self.folder / program


def find_binaries(environ: Mapping[str, str] | None = None) -> Binaries:
    """Look in ``KUBEBUILDER_ASSETS``, which decides if it is set, then in the cache.

    Raises:
        ControlPlaneMissing: nothing complete is there.

    """
    env = os.environ if environ is None else environ
    assets = env.get("KUBEBUILDER_ASSETS", "")
    folder = Path(assets) if assets else cache_folder(env)
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        where = f"KUBEBUILDER_ASSETS={folder}" if assets else str(folder)
        hint = "" if assets else "; `make control-plane` builds them"
        raise ControlPlaneMissing(f"{', '.join(missing)} not found in {where}{hint}")
    return Binaries(folder=folder, version=_version_of(folder / "kube-apiserver"))


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder that a build of this very go.mod and go.sum fills, for this machine."""
    env = os.environ if environ is None else environ
    base = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "~")).expanduser() / ".cache")
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((_HERE / name).read_bytes())
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    leaf = f"{_wanted_version()}-{sys.platform}-{machine}-{digest.hexdigest()[:12]}"
    return base / "fluvial" / "control-plane" / leaf


def build(*, log_to_stderr: bool = True) -> Binaries:
    """Build into the cache unless that has been done; safe to run twice at once.

    Takes some minutes and about 2 GB of Go's own build cache the first time.

    Raises:
        BuildFailed: no usable Go, or a compile or download error.

    """
    target = cache_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / f".{target.name}.lock"):
        try:
            return find_binaries({**os.environ, "KUBEBUILDER_ASSETS": str(target)})
        except ControlPlaneMissing:
            shutil.rmtree(target, ignore_errors=True)
        go = _usable_go()
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as room:
            staging = Path(room) / "bin"
            staging.mkdir()
            for program, package in zip(PROGRAMS, _PACKAGES, strict=True):
                if log_to_stderr:
                    sys.stderr.write(f"building {program} {_wanted_version()}\n")
                _compile(go, package, staging / program)
            staging.rename(target)
    return find_binaries({**os.environ, "KUBEBUILDER_ASSETS": str(target)})


def _compile(go: str, package: str, output: Path) -> None:
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
    command += ["-ldflags", _link_flags(), "-o", str(output), package]
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        command, cwd=_HERE, env=env, capture_output=True, check=False, timeout=_BUILD_SECONDS
    )
    if done.returncode != 0:
        tail = done.stderr.decode(errors="replace")[-4000:]
        raise BuildFailed(f"go build {package} failed:\n{tail}")


def _link_flags() -> str:
    version = _wanted_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {p}.{name}={value}" for p in packages for name, value in stamps.items()]
    return " ".join(["-s", "-w", *settings])


def _wanted_version() -> str:
    text = (_HERE / "go.mod").read_text()
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    if found is None:
        raise BuildFailed("go.mod does not name k8s.io/kubernetes")
    return found[1]


def _usable_go() -> str:
    found = re.search(r"^go (\d+)\.(\d+)", (_HERE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed("go.mod has no go line")
    wanted = (int(found[1]), int(found[2]))
    go = shutil.which("go")
    if go is None:
        raise BuildFailed(
            f"the control plane is built with Go {wanted[0]}.{wanted[1]} or newer, and there is no"
            " `go` on PATH; install it from https://go.dev/dl, or set KUBEBUILDER_ASSETS to a"
            " folder with " + ", ".join(PROGRAMS)
        )
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    said = subprocess.run([go, "env", "GOVERSION"], env=env, capture_output=True, check=False)
    have = re.match(r"go(\d+)\.(\d+)", said.stdout.decode())
    if have is None or (int(have[1]), int(have[2])) < wanted:
        raise BuildFailed(
            f"{go} is {said.stdout.decode().strip() or 'of unknown version'}; "
            f"the control plane needs Go {wanted[0]}.{wanted[1]} or newer"
        )
    return go


def _version_of(apiserver: Path) -> str:
    try:
        said = subprocess.run(
            [apiserver, "--version"], capture_output=True, check=True, timeout=30
        ).stdout.decode()
    except (OSError, subprocess.SubprocessError) as error:
        raise ControlPlaneMissing(f"{apiserver} does not run: {error}") from error
    found = re.search(r"v\d\S*", said)
    if found is None:
        raise ControlPlaneMissing(f"{apiserver} --version said {said.strip()!r}")
    return found[0]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Build, and print the folder on standard output."""
    try:
        binaries = build()
    except BuildFailed as error:
        sys.stderr.write(f"control plane: {error}\n")
        return 1
    sys.stdout.write(f"{binaries.folder}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
