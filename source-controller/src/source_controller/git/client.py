"""The controller's side of the git job: which worker may do it, and what its failures mean."""

from __future__ import annotations

import hashlib

import msgspec

from fluvial.log import Logger
from fluvial.net.gateway import Gateway, Route
from fluvial.net.proxy import ProxyServer
from fluvial.workers.errors import WorkerError, WorkerTimeout
from fluvial.workers.pool import WorkerPool
from source_controller.git.model import Checkout, CheckoutRequest

__all__ = [
    "CredentialsRefused",
    "EmptyRepository",
    "GitClient",
    "GitError",
    "NotVerified",
    "git_pool",
]

_TARGET = "source_controller.git.job:run"
_MEMORY_BYTES = 768 << 20
_FILE_BYTES = 2 << 30
_MAX_JOBS = 200
_GRACE_SECONDS = 5.0
_SIGNATURES = frozenset({"InvalidGitObject", "InvalidCommitSignature", "InvalidTagSignature"})
_INTERNAL = frozenset({"Internal", "WorkerStartFailed", "WorkerBusy", "Closed", "TrustDomain"})


class GitError(Exception):
    """A fetch failed; the text is for the object's status."""


class EmptyRepository(GitError):
    """The repository has no references at all."""


class CredentialsRefused(GitError):
    """The server refuses the credentials, or wants some."""


class NotVerified(GitError):
    """A signature that is wanted is missing or does not hold.

    Attributes:
        reason: ``InvalidGitObject``, ``InvalidCommitSignature`` or ``InvalidTagSignature``.

    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def git_pool(*, size: int, log: Logger, memory_bytes: int = _MEMORY_BYTES) -> WorkerPool:
    """The pool that ``GitClient`` works with; use it as a context manager.

    Args:
        size: fetches at once, each a process of about 40 MB at rest.
        log: for process ends.
        memory_bytes: most private memory of one process.

    """
    return WorkerPool(
        target=_TARGET,
        size=size,
        memory_bytes=memory_bytes,
        file_bytes=_FILE_BYTES,
        max_jobs=_MAX_JOBS,
        log=log,
    )


class GitClient:
    """Fetches repositories in worker processes.

    Args:
        pool: from ``git_pool``.
        gateway: by which the processes reach Git servers.

    """

    def __init__(self, pool: WorkerPool, gateway: Gateway) -> None:
        self._pool = pool
        self._gateway = gateway

    async def checkout(
        self, request: CheckoutRequest, *, namespace: str, proxy: ProxyServer | None = None
    ) -> Checkout:
        """Fetch a commit and write its files to ``<request.work>/tree``.

        Args:
            request: what and where to; its ``work`` folder exists and is empty.
            namespace: of the object; with the credentials it makes the worker's trust domain.
            proxy: the object's own, to connect through.

        Raises:
            EmptyRepository: there is nothing to check out.
            NotVerified: a signature does not hold; nothing was written.
            CredentialsRefused: the server refuses the credentials.
            GitError: anything else, with a text that a person can act on.

        """
        async with self._gateway.route(proxy=proxy) as route:
            try:
                answer = await self._pool.call(
                    "checkout",
                    msgspec.to_builtins(msgspec.structs.replace(request, gateway=route.url)),
                    timeout=request.timeout + _GRACE_SECONDS,
                    trust_domain=_trust_domain(namespace, request),
                    retry_timeout=False,
                )
            except WorkerTimeout as error:
                raise GitError(f"the fetch took longer than {request.timeout:g}s") from error
            except WorkerError as error:
                raise _git_error(error, route) from error
        return msgspec.convert(answer, Checkout)


def _git_error(error: WorkerError, route: Route) -> GitError:
    if route.problem is not None:
        return GitError(str(route.problem))  # the library only saw that there is no connection
    if error.code == "EmptyRepository":
        return EmptyRepository(error.message)
    if error.code == "AuthenticationRefused":
        return CredentialsRefused(error.message)
    if error.code in _SIGNATURES:
        return NotVerified(error.code, error.message)
    prefix = "the git worker failed: " if error.code in _INTERNAL else ""
    return GitError(prefix + error.message)


def _trust_domain(namespace: str, request: CheckoutRequest) -> str:
    """A name for (namespace, credentials, trust) that tells nothing about them."""
    packed = msgspec.json.encode((namespace, request.auth))
    return hashlib.sha256(packed).hexdigest()
