"""One connection to a Git server: list its heads, fetch what is wanted, within limits."""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pygit2
from pygit2.enums import CredentialType

from fluvial.workers.errors import WorkerError
from source_controller.git import hostkeys
from source_controller.git.model import Auth, Limits
from source_controller.git.relay import Destination, Relay
from source_controller.hosts import is_plain_host

__all__ = ["Deadline", "Target", "Way", "connected", "fetch", "list_heads"]

_SAFE_SCHEMES = frozenset({"http", "https", "ssh"})
_LOOPBACK = "127.0.0.1"
_SHORTEST = 6  # what is shorter would hide words
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Deadline:
    """A point in time that all parts of a job share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds  # a child process has no event loop

    @property
    def left(self) -> float:
        """Seconds left, at least a moment, for settings that mean "for ever" by 0."""
        return max(0.05, self._end - time.monotonic())

    def check(self) -> None:
        """Raise once it has passed.

        Raises:
            WorkerError: code ``Timeout``.

        """
        if time.monotonic() >= self._end:
            raise WorkerError("Timeout", f"the fetch took longer than {self.seconds:g}s")


@dataclass(frozen=True, slots=True)
class Way:
    """How connections leave this process.

    Attributes:
        gateway: URL of the parent's gateway with the job's password.
        relay: the process's own.
        tls: trust and client certificate of https; ``None`` for other schemes.

    """

    gateway: str = field(repr=False)
    relay: Relay
    tls: ssl.SSLContext | None = field(repr=False)


class Target:
    """Where to connect, and with what.

    Raises:
        WorkerError: code ``InvalidURL`` for any other scheme than http, https and ssh.

    """

    def __init__(
        self, url: str, *, user: str, auth: Auth, deadline: Deadline, limits: Limits, way: Way
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SAFE_SCHEMES:
            raise WorkerError("InvalidURL", f"unsupported URL scheme {parts.scheme!r}")
        # libgit2 parses the URL again: nothing in it may be read in two ways.
        if "@" in parts.netloc or not is_plain_host(parts.hostname or ""):
            raise WorkerError("InvalidURL", "the host in the URL is not valid")
        self.url = url
        self.scheme = parts.scheme
        self.host: str = parts.hostname or ""
        self.port = parts.port or {"http": 80, "https": 443, "ssh": 22}[parts.scheme]
        self.user = user
        self.auth = auth
        self.deadline = deadline
        self.limits = limits
        self.way = way

    @property
    def relay_url(self) -> str:
        """The URL for libgit2: it leads to the relay, and has the user for SSH."""
        parts, address = urlsplit(self.url), f"{_LOOPBACK}:{self.way.relay.port}"
        if self.scheme == "ssh":
            address = f"{quote(self.user or 'git', safe='')}@{address}"
            return urlunsplit(parts._replace(netloc=address))
        return urlunsplit(parts._replace(scheme="http", netloc=address))

    def aim_relay(self) -> None:
        """Let the relay lead to this host."""
        destination = Destination(
            self.scheme,
            self.host,
            self.port,
            self.way.gateway,
            self.way.tls,
            timeout=self.deadline.left,
        )
        self.way.relay.aim(destination)


class _Callbacks(pygit2.RemoteCallbacks):
    """Credentials once, trust by rule, and an eye on time and size."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._asked = False

    def credentials(self, _url: str, _user: str | None, allowed: CredentialType) -> Any:
        auth, user = self._target.auth, self._target.user or "git"
        if allowed & CredentialType.USERNAME and not allowed & CredentialType.SSH_MEMORY:
            return pygit2.Username(user)
        if self._asked:
            raise WorkerError("AuthenticationRefused", self._refusal())
        self._asked = True
        if self._target.scheme == "ssh" and allowed & CredentialType.SSH_MEMORY and auth.identity:
            return pygit2.KeypairFromMemory(user, "", auth.identity, auth.identity_password)
        raise WorkerError("AuthenticationRefused", self._refusal())

    def custom_headers(self) -> list[str] | None:
        auth = self._target.auth
        if self._target.scheme == "ssh":
            return None
        if auth.bearer:
            return [f"Authorization: Bearer {auth.bearer}"]
        if auth.username:
            pair = f"{auth.username}:{auth.password}".encode()
            return [f"Authorization: Basic {base64.b64encode(pair).decode()}"]
        return None

    def transfer_progress(self, stats: Any) -> None:
        self._target.deadline.check()
        if stats.received_bytes > self._target.limits.max_transfer_bytes:
            raise WorkerError(
                "RepositoryTooLarge",
                f"the repository is larger than {self._target.limits.max_transfer_bytes} bytes",
            )

    def sideband_progress(self, _text: str) -> None:
        self._target.deadline.check()

    def check_host(self, host: str) -> None:
        if host != _LOOPBACK:
            raise WorkerError("CertificateRefused", f"connected to {host!r}, which was not asked")

    def check_host_key(self, blob: bytes) -> None:
        target = self._target
        known = target.auth.known_hosts
        problem = hostkeys.check_host_key(known, target.host, target.port, blob)
        if problem:
            raise WorkerError("CertificateRefused", problem)

    def _refusal(self) -> str:
        has_any = bool(self._target.auth.secrets() or self._target.auth.username)
        what = "are refused" if has_any else "are required"
        return f"authentication required: credentials for {self._target.host} {what}"


@contextmanager
def connected(repo: Any, target: Target, home: Path) -> Iterator[tuple[Any, _Callbacks]]:
    """A connected anonymous remote and its callbacks.

    Raises:
        WorkerError: with a code and a text for people; the URL's secrets are in neither.

    """
    callbacks = _Callbacks(target)
    target.aim_relay()
    if target.scheme == "ssh":
        _prefer_known_keys(target, home)
    with _translated(target):
        remote = repo.remotes.create_anonymous(target.relay_url)
        remote.connect(callbacks=callbacks, proxy=None)
    yield remote, callbacks


def list_heads(remote: Any) -> dict[str, str]:
    """The remote's references by full name; ``refs/tags/x^{}`` is what the tag object leads to."""
    return {
        head.name: str(head.oid)
        for head in remote.list_heads(connect=False)
        if head.name.startswith("refs/")
    }


def fetch(
    remote: Any, callbacks: _Callbacks, target: Target, refs: tuple[str, ...], *, deep: bool
) -> None:
    """Fetch references under their own names, with the last commit only unless ``deep``."""
    with _translated(target):
        remote.fetch(
            [f"+{ref}:{ref}" for ref in refs],
            callbacks=callbacks,
            proxy=None,
            depth=0 if deep else 1,
        )


def _prefer_known_keys(target: Target, home: Path) -> None:
    """Show libgit2 which kinds of host key are known, so that it asks the server for one."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = hostkeys.preference_file(
        target.auth.known_hosts,
        target.host,
        target.port,
        names=f"{_LOOPBACK},[{_LOOPBACK}]:{target.way.relay.port}",
    )
    (folder / "known_hosts").write_text(text)
    pygit2.settings.homedir = str(home)


@contextmanager
def _translated(target: Target) -> Iterator[None]:
    """Turn libgit2's errors into the job's, without secrets and control characters."""
    try:
        yield
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        target.deadline.check()
        text = str(error.args[0]) if error.args else type(error).__name__
        if text.lower() == "out of memory":
            raise MemoryError from error  # this process is not fit for another job
        text = target.way.relay.problem or _explain(text)
        raise WorkerError("RemoteFailed", _clean(text, target.auth)) from error


def _explain(text: str) -> str:
    if "status code: 404" in text:
        return "repository not found (404): check spec.url and the credentials"
    if re.search(r"status code: 40[13]", text):
        return f"authentication required: the server refuses the credentials ({text})"
    return text


def _clean(text: str, auth: Auth) -> str:
    """What may be shown: a server can repeat what was sent, also as it was encoded."""
    for secret in _spellings(auth):
        text = text.replace(secret, "*****")
    return _CONTROL.sub(" ", text)[:2000]


def _spellings(auth: Auth) -> list[str]:
    """The secrets in every form in which they leave this process, the longest first."""
    plain = {*auth.secrets()}
    if auth.password:
        plain.add(f"{auth.username}:{auth.password}")
    encoded = {quote(text, safe="") for text in plain}
    for text in plain:
        encoded.update(_in_base64(text.encode()))
    found = plain | {item for item in encoded if len(item) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)


def _in_base64(secret: bytes) -> Iterator[str]:
    """What shows a secret where base64 has it, alone or within something longer.

    What stands before it shifts it by up to two bytes, and shares a character with its beginning.
    """
    for shift, shared in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(shift) + secret).decode().rstrip("=")[shared:]
            yield text
            yield text[: len(text) - (len(text) + shared) % 4]
