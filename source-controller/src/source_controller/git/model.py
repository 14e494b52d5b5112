"""What the controller asks of the git job, and what it gets: the frames between both, typed."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "Auth",
    "Checkout",
    "CheckoutRequest",
    "Limits",
    "Reference",
    "Verification",
    "revision_of",
]


class Reference(msgspec.Struct, frozen=True):
    """What to check out; the first that is set of commit, name, tag, semver, branch."""

    branch: str = ""
    tag: str = ""
    semver: str = ""
    name: str = ""
    commit: str = ""


class Auth(msgspec.Struct, frozen=True):
    """Credentials and trust for one host. Its ``repr`` shows nothing of it."""

    username: str = ""
    password: str = ""
    bearer: str = ""
    ca: str = ""
    certificate: str = ""
    certificate_key: str = ""
    identity: str = ""
    identity_password: str = ""
    known_hosts: str = ""

    def __repr__(self) -> str:
        return "Auth(...)"

    __str__ = __repr__

    def __rich_repr__(self) -> Any:
        yield "..."

    def secrets(self) -> tuple[str, ...]:
        """The strings that must not appear in any text."""
        values = (
            self.password,
            self.bearer,
            self.identity,
            self.identity_password,
            self.certificate_key,
        )
        return tuple(value for value in values if value)


class Verification(msgspec.Struct, frozen=True):
    """Which signatures are wanted, and by whom.

    Attributes:
        tag: that of the tag object.
        commit: that of the commit.
        keys: data of the Secret by name; ``*.sshpub`` for SSH, all others for OpenPGP.

    """

    tag: bool
    commit: bool
    keys: dict[str, str]


class Limits(msgspec.Struct, frozen=True):
    """What a repository may cost; sizes in bytes."""

    max_transfer_bytes: int = 1 << 30
    max_tree_bytes: int = 1 << 30
    max_file_bytes: int = 256 << 20
    max_entries: int = 200_000
    max_submodules: int = 100


class CheckoutRequest(msgspec.Struct, frozen=True):
    """One fetch.

    Attributes:
        url: without user information.
        user: user of the URL, for SSH.
        reference: what to check out.
        auth: credentials.
        work: an empty folder for the job's own files and, as ``tree``, for the result. Its parent
            belongs to the namespace: the worker can reach nothing else.
        known_revision: revision of the artifact that is there already; if the remote's head is
            still the same, nothing is fetched. ``""`` fetches always.
        sparse: folders to check out, without ``./``; none means everything.
        submodules: whether to fetch submodules too.
        timeout: seconds for all of it.
        limits: what is refused.
        verification: signatures to check before anything is written.
        gateway: URL of the route by which all connections leave, with its password.

    """

    url: str
    work: str
    timeout: float
    verification: Verification | None = None
    gateway: str = ""
    user: str = ""
    reference: Reference = Reference()
    auth: Auth = Auth()
    known_revision: str = ""
    sparse: tuple[str, ...] = ()
    submodules: bool = False
    limits: Limits = Limits()


class Checkout(msgspec.Struct, frozen=True):
    """The result.

    Attributes:
        revision: as in ``status.artifact.revision``.
        commit: the commit's hash.
        message: first line of the commit message, without control characters.
        unchanged: nothing was fetched, because ``known_revision`` is still current.
        verified: what was signed by which key, for people.

    """

    revision: str
    commit: str
    message: str = ""
    unchanged: bool = False
    verified: tuple[str, ...] = ()


def revision_of(label: str, commit: str) -> str:
    """``main@sha1:<hash>``, or ``sha1:<hash>`` where there is no name."""
    algorithm = "sha1" if len(commit) == 40 else "<unknown>"
    return f"{label}@{algorithm}:{commit}" if label else f"{algorithm}:{commit}"
