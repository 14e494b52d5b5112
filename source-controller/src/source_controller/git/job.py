"""The job that runs in a worker process: fetch a reference of a repository and write its files.

It is the only importer of libgit2. A call connects once: it lists the remote's heads, stops there
if the known revision is still current, and otherwise fetches over the same connection, only the
last commit where that is enough.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pygit2

from fluvial.net.tls import InvalidTls, Tls, tls_context
from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError
from source_controller.git import library, refs, submodules
from source_controller.git import remote as remotes
from source_controller.git.model import Auth, Checkout, CheckoutRequest, Verification, revision_of
from source_controller.git.relay import Relay
from source_controller.git.tree import Gitlink, TreeWriter

__all__ = ["run"]

_MAX_NESTING = 10
_MAX_SUBJECT = 200

library.configure()


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target; ``method`` is ``checkout``.

    Raises:
        WorkerError: codes ``EmptyRepository``, ``ReferenceNotFound``, ``InvalidReference``,
            ``SparseCheckout``, ``AuthenticationRefused``, ``CertificateRefused``,
            ``RemoteFailed``, ``RepositoryTooLarge``, ``UnsafeRepository``, ``UnsafeSubmodule``,
            ``InvalidURL``, ``InvalidTLS``, ``Timeout``, ``InvalidGitObject``,
            ``InvalidCommitSignature``, ``InvalidTagSignature``, ``DiskFailed``.

    """
    if method != "checkout":
        raise WorkerError("Internal", f"unknown method {method!r}")
    request = msgspec.convert(payload, CheckoutRequest)
    _prepare(request)
    try:
        result: JsonObject = msgspec.to_builtins(_Job(request).checkout())
    except (OSError, pygit2.GitError) as error:
        raise _disk_failure(error) or error from error
    return result


def _disk_failure(error: Exception) -> WorkerError | None:
    """What to say of a disk that fails; the library says so in the words of the system."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
        if os.strerror(number) in str(error):
            said = f"the repository's files cannot be written: {os.strerror(number)}"
            return WorkerError("DiskFailed", said)
    return None


def _prepare(request: CheckoutRequest) -> None:
    """At the first call, for good: limit this process to its namespace's folder and the gateway."""
    if _process:
        return
    os.umask(0o077)
    relay = Relay()
    landlock.fence(
        read=landlock.paths_of_libraries(),
        write=[Path(request.work).parent],
        ports=[relay.port, urlsplit(request.gateway).port or 0],
    )
    _process.append(relay)


_process: list[Relay] = []


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A commit in a local repository, and the full name of the reference that led to it."""

    repo: Any
    commit: Any
    label: str
    ref: str = ""


class _Job:
    def __init__(self, request: CheckoutRequest) -> None:
        self._request = request
        self._work = Path(request.work)
        self._deadline = remotes.Deadline(request.timeout)
        self._repositories = 0

    def checkout(self) -> Checkout:
        request = self._request
        for leftover in self._work.iterdir():  # of an attempt whose worker was lost
            _remove(leftover)
        target = self._target(request.url, request.user, request.auth)
        fetched = self._fetch(target)
        if isinstance(fetched, Checkout):
            return fetched
        verified = _verified(fetched, request.verification) if request.verification else ()
        self._write(fetched)
        commit = str(fetched.commit.id)
        return Checkout(
            revision_of(fetched.label, commit), commit, _subject(fetched.commit), verified=verified
        )

    def _target(self, url: str, user: str, auth: Any) -> remotes.Target:
        library.set_timeouts(self._deadline.left)
        return remotes.Target(
            url,
            user=user,
            auth=auth,
            deadline=self._deadline,
            limits=self._request.limits,
            way=remotes.Way(self._request.gateway, _process[0], _tls(url, auth)),
        )

    def _fetch(self, target: remotes.Target) -> _Fetched | Checkout:
        repo = self._new_repository()
        with remotes.connected(repo, target, self._work / "home") as (remote, callbacks):
            heads = remotes.list_heads(remote)
            if not heads:
                raise WorkerError("EmptyRepository", "git repository is empty")
            wanted = refs.choose(self._request.reference, heads)
            revision = revision_of(wanted.label, wanted.commit)
            if wanted.commit and revision == self._request.known_revision:
                return Checkout(revision, wanted.commit, unchanged=True)
            remotes.fetch(remote, callbacks, target, wanted.refs, deep=wanted.deep)
        return self._resolve(repo, wanted)

    def _resolve(self, repo: Any, wanted: refs.Wanted) -> _Fetched:
        if wanted.deep:
            commit = _find_commit(repo, wanted.commit)
            if commit is None:
                where = f" of branch {wanted.label!r}" if wanted.label else ""
                raise WorkerError(
                    "ReferenceNotFound",
                    f"commit {wanted.commit!r} is not in the history{where}: check spec.ref",
                )
            return _Fetched(repo, commit, wanted.label)
        found = [(_peel(repo, ref), ref) for ref in wanted.refs]
        commit, ref = max(found, key=lambda item: (item[0].commit_time, item[1]))
        if wanted.commit and str(commit.id) != wanted.commit:
            raise WorkerError("RemoteFailed", f"{ref!r} moved while it was fetched")
        label = wanted.label if len(found) == 1 else ref.removeprefix("refs/tags/")
        return _Fetched(repo, commit, label, ref)

    def _write(self, fetched: _Fetched) -> None:
        request = self._request
        root = self._work / "tree"
        root.mkdir()
        writer = TreeWriter(root, request.limits, self._deadline, request.sparse)
        links = writer.write(fetched.repo, fetched.commit.tree)
        if request.submodules:
            self._write_submodules(writer, fetched, links, url=request.url, prefix="", nesting=0)
        missing = next(writer.missing(), None)
        if missing is not None:
            raise WorkerError(
                "SparseCheckout",
                f"sparse checkout directory {missing!r} does not exist in the repository",
            )

    def _write_submodules(
        self,
        writer: TreeWriter,
        parent: _Fetched,
        links: list[Gitlink],
        *,
        url: str,
        prefix: str,
        nesting: int,
    ) -> None:
        if links and nesting >= _MAX_NESTING:
            raise WorkerError("UnsafeSubmodule", "submodules are nested too deeply")
        modules = submodules.parse_modules(_gitmodules(parent.commit.tree)) if links else {}
        for link in links:
            module = modules.get(link.path[len(prefix) :])
            if module is None:
                raise WorkerError(
                    "UnsafeSubmodule", f"no url for submodule {link.path!r} in .gitmodules"
                )
            address, user = submodules.resolve_url(module.url, parent=url)
            auth = submodules.auth_for(address, parent=self._request.url, auth=self._request.auth)
            fetched = self._fetch_commit(self._target(address, user, auth), link)
            inner = writer.write(fetched.repo, fetched.commit.tree, link.path)
            self._write_submodules(
                writer,
                fetched,
                inner,
                url=address,
                prefix=f"{link.path}/",
                nesting=nesting + 1,
            )

    def _fetch_commit(self, target: remotes.Target, link: Gitlink) -> _Fetched:
        repo = self._new_repository()
        with remotes.connected(repo, target, self._work / "home") as (remote, callbacks):
            heads = remotes.list_heads(remote)
            names = [n for n in heads if n.startswith(("refs/heads/", "refs/tags/"))]
            names = [n for n in names if not n.endswith(refs.PEELED)]
            tip = next(
                (n for n in names if heads.get(n + refs.PEELED, heads[n]) == link.commit), ""
            )
            wanted = (tip,) if tip else tuple(names)
            if not wanted:
                raise WorkerError("EmptyRepository", f"submodule {link.path!r} is empty")
            remotes.fetch(remote, callbacks, target, wanted, deep=not tip)
        commit = _find_commit(repo, link.commit)
        if commit is None:
            raise WorkerError(
                "ReferenceNotFound",
                f"commit {link.commit} of submodule {link.path!r} is in none of its branches",
            )
        return _Fetched(repo, commit, "")

    def _new_repository(self) -> Any:
        self._repositories += 1
        if self._repositories > self._request.limits.max_submodules + 1:
            raise WorkerError("UnsafeSubmodule", "the repository has too many submodules")
        path = self._work / f"repository-{self._repositories}"
        repo = pygit2.init_repository(str(path), bare=True)
        # libgit2 still follows within the same host, also from http to https.
        repo.config["http.followRedirects"] = "false"
        return repo


def _tls(url: str, auth: Auth) -> ssl.SSLContext | None:
    if not url.startswith("https:"):
        return None
    try:
        return _context(Tls(auth.ca, auth.certificate, auth.certificate_key))
    except InvalidTls as error:
        raise WorkerError("InvalidTLS", str(error)) from error


@functools.lru_cache(maxsize=4)
def _context(tls: Tls) -> ssl.SSLContext:
    """Reading the system's authorities takes ten times as long as to see that nothing is new."""
    return tls_context(tls)


def _verified(fetched: _Fetched, wanted: Verification) -> tuple[str, ...]:
    """Check the signatures that are wanted; what was signed by which key."""
    found: list[str] = []
    if wanted.tag:
        tag = fetched.repo[fetched.repo.lookup_reference(fetched.ref).target]
        name = fetched.ref.removeprefix("refs/tags/")
        if not isinstance(tag, pygit2.Tag):
            raise WorkerError(
                "InvalidGitObject",
                f"tag {name!r} is a lightweight tag, which cannot be signed: use git tag --sign",
            )
        if tag.name != name:  # a signed tag under another name, such as a newer version's
            raise WorkerError(
                "InvalidTagSignature", f"the tag object of {name!r} is of another tag"
            )
        signature, payload = _signatures().split_tag(tag.read_raw())
        key = _signer("Tag", f"tag {name!r}", signature, payload, wanted.keys)
        found.append(f"tag '{name}' with key '{key}'")
    if wanted.commit:
        raw, payload = fetched.commit.gpg_signature
        signature = (raw or b"").decode(errors="replace")
        hash_ = str(fetched.commit.id)
        key = _signer("Commit", f"commit {hash_!r}", signature, payload or b"", wanted.keys)
        found.append(f"commit '{hash_}' with key '{key}'")
    return tuple(found)


def _signer(kind: str, what: str, signature: str, payload: bytes, keys: dict[str, str]) -> str:
    try:
        key: str = _signatures().verify(signature, payload, keys)
    except _signatures().SignatureInvalid as error:
        raise WorkerError(
            f"Invalid{kind}Signature", f"signature verification of {what} failed: {error}"
        ) from error
    return key


def _signatures() -> ModuleType:
    """Loaded where a signature is wanted: it takes as long as the rest of this module."""
    return importlib.import_module("source_controller.git.signatures")


def _remove(leftover: Path) -> None:
    from fluvial.artifact.cache import remove_tree  # noqa: PLC0415  # heavy, and rarely needed

    remove_tree(leftover)


def _find_commit(repo: Any, commit: str) -> Any | None:
    found = repo.get(commit)
    return found if isinstance(found, pygit2.Commit) else None


def _peel(repo: Any, ref: str) -> Any:
    try:
        return repo.lookup_reference(ref).peel(pygit2.Commit)
    except (KeyError, pygit2.GitError, ValueError):
        raise WorkerError("RemoteFailed", f"{ref!r} does not lead to a commit") from None


def _gitmodules(tree: Any) -> bytes:
    if ".gitmodules" not in tree:
        return b""
    blob = tree[".gitmodules"]
    data: bytes = blob.data if isinstance(blob, pygit2.Blob) else b""
    return data


def _subject(commit: Any) -> str:
    text = commit.raw_message.decode(errors="replace").strip().partition("\n")[0]
    return "".join(char for char in text[:_MAX_SUBJECT] if char.isprintable())
