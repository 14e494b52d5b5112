"""Real signers: OpenSSH's ssh-keygen and GnuPG, with keys of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["Gpg", "needs_gpg", "ssh_sign"]

needs_gpg = pytest.mark.skipif(
    shutil.which("gpg") is None and "FLUVIAL_REQUIRE_SSHD" not in os.environ,
    reason="gpg is not installed: tests/setup.sh installs it where root can",
)


def ssh_sign(private: Path, data: bytes, *, namespace: str = "git") -> str:
    """An armored SSH signature by ``ssh-keygen -Y sign``."""
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(private)],
        input=data,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode()


class Gpg:
    """GnuPG with a home of its own.

    Args:
        home: a new folder with a short path, since its agent listens on a socket in it.

    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)

    def run(self, *arguments: str, data: bytes = b"") -> bytes:
        """Run gpg; answers what it prints."""
        done = subprocess.run(
            ["gpg", "--batch", "--quiet", "--no-tty", "--yes", "--passphrase", "", *arguments],
            env={"GNUPGHOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C"},
            input=data,
            check=True,
            capture_output=True,
        )
        return done.stdout

    def make_key(self, who: str, *, kind: str = "ed25519", expires: str = "0") -> str:
        """Make a key that can sign; answers its fingerprint."""
        self.run("--quick-generate-key", f"{who} <{who}@example.com>", kind, "sign", expires)
        lines = self.run("--with-colons", "--list-keys", who).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))

    def public_key(self, who: str) -> str:
        """The armored public key."""
        return self.run("--armor", "--export", who).decode()

    def sign(self, who: str, data: bytes, *options: str) -> str:
        """An armored detached signature."""
        arguments = ("--armor", "--detach-sign", "--local-user", who)
        return self.run(*options, *arguments, data=data).decode()

    def stop(self) -> None:
        """End the agent."""
        subprocess.run(
            ["gpgconf", "--kill", "all"],
            env={"GNUPGHOME": str(self.home), "PATH": os.environ["PATH"]},
            check=False,
            capture_output=True,
        )
