"""The source step: from the spec to a checked-out tree, or to its archive."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from fluvial.artifact.errors import ArtifactTooLarge
from fluvial.cloud.identities import CloudIdentities
from fluvial.objects import ObjectKey
from source_controller.git.client import CredentialsRefused, EmptyRepository, GitError, NotVerified
from source_controller.git.model import (
    Auth,
    CheckoutRequest,
    Limits,
    Reference,
    Verification,
)
from source_controller.gitrepository.auth import SCHEMES
from source_controller.gitrepository.providers import Asked, Providers
from source_controller.gitrepository.reasons import EMPTY_GIT_REPOSITORY, GIT_OPERATION_FAILED
from source_controller.gitrepository.run import GitRun
from source_controller.gitrepository.sharing import Checkouts, Fetched, Wish
from source_controller.gitrepository.verifying import VerifyStep
from source_controller.source import reasons
from source_controller.source.address import Address, parse_address
from source_controller.source.proxies import read_proxy
from source_controller.source.run import StatusWriter, StepFailed
from source_controller.source.secrets import read_secret
from source_controller.source.tools import Tools

__all__ = ["SourceStep"]


class SourceStep:
    """Fetches the reference of the spec, or finds that nothing is new.

    Args:
        tools: its client reads Secrets, live, in the object's own namespace.
        checkouts: the fetches.
        identities: credentials of providers.
        writer: for progress.
        limits: of one repository.

    """

    def __init__(
        self,
        tools: Tools,
        checkouts: Checkouts,
        *,
        identities: CloudIdentities,
        writer: StatusWriter,
        limits: Limits,
    ) -> None:
        self._client = tools.client
        self._checkouts = checkouts
        self._providers = Providers(identities)
        self._verifying = VerifyStep(tools.client, tools.events)
        self._writer = writer
        self._limits = limits

    async def run(self, run: GitRun) -> Fetched:
        """Fetch; its checkout is ``unchanged`` if there is nothing to do.

        An object with includes has its tree in ``run.work``; others have an archive.

        Raises:
            StepFailed: ``URLInvalid``, ``GitOperationFailed``, ``EmptyGitRepository`` or
                ``ArchiveOperationFailed``; and as ``Providers`` and ``VerifyStep`` say.

        """
        address = parse_address(run.obj.spec.url, schemes=SCHEMES)
        spec, namespace = run.obj.spec, run.key.namespace
        secret = await self._secret(run)
        proxy = await read_proxy(self._client, namespace, spec.proxy_secret_ref)
        asked = Asked(namespace, spec, address, secret, proxy)
        auth = await self._providers.auth(asked)
        verification = await self._verifying.wanted(run)
        request = self._request(run, address, auth, verification)
        fetched = await self._fetch(run, Wish(request, namespace, proxy, spec.ignore), asked)
        checkout = fetched.checkout
        run.clear(reasons.FETCH_FAILED)
        self._verifying.report(run, verification, checkout)
        if not checkout.unchanged and not _has_revision(run, checkout.revision):
            await self._announce(run, checkout.revision)
        return fetched

    async def _announce(self, run: GitRun, revision: str) -> None:
        message = f"new upstream revision '{revision}'"
        if run.artifact is not None:
            run.set_true(reasons.ARTIFACT_OUTDATED, reasons.NEW_REVISION, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.progress(run)

    async def _secret(self, run: GitRun) -> dict[str, bytes]:
        reference = run.obj.spec.secret_ref
        if reference is None:
            return {}
        return await read_secret(self._client, ObjectKey(run.key.namespace, reference.name))

    def _request(
        self, run: GitRun, address: Address, auth: Auth, verification: Verification | None
    ) -> CheckoutRequest:
        spec = run.obj.spec
        ref = spec.ref
        reference = (
            Reference(
                branch=ref.branch,
                tag=ref.tag,
                semver=ref.semver,
                name=ref.name,
                commit=ref.commit,
            )
            if ref is not None
            else Reference()
        )
        return CheckoutRequest(
            url=address.url,
            user=address.user,
            work=str(run.folder),
            timeout=spec.timeout_seconds,
            reference=reference,
            auth=auth,
            known_revision=_known_revision(run) if self._verifying.holds(run, verification) else "",
            verification=verification,
            sparse=tuple(_sparse_path(path) for path in spec.sparse_checkout),
            submodules=spec.recurse_submodules,
            limits=self._limits,
        )

    async def _checkout(self, run: GitRun, wish: Wish) -> Fetched:
        if run.obj.spec.include:
            return await self._checkouts.own(wish)
        max_age = 0.0 if run.asked else run.obj.spec.interval_seconds / 2
        return await self._checkouts.shared(wish, max_age=max_age)

    async def _fetch(self, run: GitRun, wish: Wish, asked: Asked) -> Fetched:
        try:
            try:
                return await self._checkout(run, wish)
            except CredentialsRefused:
                auth = await self._providers.fresh(asked, wish.request.auth)
                if auth is None:
                    raise
                request = msgspec.structs.replace(wish.request, auth=auth)
                return await self._checkout(run, replace(wish, request=request))
        except NotVerified as error:
            run.clear(reasons.FETCH_FAILED)
            raise self._verifying.refused(run, error) from error
        except EmptyRepository as error:
            raise StepFailed(reasons.FETCH_FAILED, EMPTY_GIT_REPOSITORY, str(error)) from error
        except GitError as error:
            raise StepFailed(
                reasons.FETCH_FAILED,
                GIT_OPERATION_FAILED,
                f"failed to checkout and determine revision: {error}",
            ) from error
        except (OSError, ArtifactTooLarge) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.ARCHIVE_OPERATION_FAILED,
                f"unable to archive artifact to storage: {text}",
            ) from error


def _known_revision(run: GitRun) -> str:
    """The revision that needs no fetch: it is in storage, made the way the spec says."""
    if run.artifact is None or run.content_config_changed():
        return ""
    in_storage = any(
        item.type == reasons.ARTIFACT_IN_STORAGE and item.status == "True"
        for item in run.conditions
    )
    return run.artifact.revision if in_storage else ""


def _has_revision(run: GitRun, revision: str) -> bool:
    return run.artifact is not None and run.artifact.revision == revision


def _sparse_path(path: str) -> str:
    """A folder within the repository: ``./`` and surplus slashes go, ``..`` stays at the root."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)
