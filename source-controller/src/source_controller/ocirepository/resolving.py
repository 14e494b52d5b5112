"""From ``spec.ref`` to the digest that is pulled: a tag is asked for once in a reconcile."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.source_oci import DEFAULT_TAG, OCIRepositoryRef
from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from source_controller.oci.reference import check_tag, parse_digest
from source_controller.oci.registry import RepositoryClient
from source_controller.oci.tags import HELM_CHART_LAYER, choose_version
from source_controller.source.once import Once

__all__ = ["Resolved", "Resolver"]

_WINDOW_SECONDS = 2.0
_MAX_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is pulled.

    Attributes:
        digest: of the manifest or index.
        tag: that led there, ``""`` for a digest.

    """

    digest: Digest
    tag: str = ""

    @property
    def revision(self) -> str:
        """``<tag>@<digest>``, or the digest alone."""
        return f"{self.tag}@{self.digest}" if self.tag else str(self.digest)


class Resolver:
    """Resolves references, equal ones of about the same time together.

    Args:
        clock: ages answers.

    """

    def __init__(self, clock: Clock) -> None:
        self._tags: Once[tuple[object, ...], str] = Once(
            clock, keep=_WINDOW_SECONDS, size=_MAX_KEPT
        )
        self._digests: Once[tuple[object, ...], Digest] = Once(
            clock, keep=_WINDOW_SECONDS, size=_MAX_KEPT
        )
        self._proofs: Once[tuple[object, ...], Digest] = Once(
            clock, keep=_WINDOW_SECONDS, size=_MAX_KEPT
        )

    async def tag_of(
        self,
        client: RepositoryClient,
        ref: OCIRepositoryRef,
        *,
        domain: tuple[str, str],
        media_type: str,
        max_age: float,
    ) -> str:
        """The tag that a reference means, ``""`` if it is a digest.

        Args:
            client: of the repository.
            ref: the strongest of digest, semver and tag counts.
            domain: see ``registries.trust_domain``.
            media_type: of the wanted layer; for charts ``_`` in a tag stands for ``+``.
            max_age: seconds that an answer to an equal question may be old.

        Raises:
            InvalidReference: the range, the filter or the tag cannot be read.
            NoMatch: no tag is in the range.
            OciError: the registry could not tell.

        """
        if ref.digest:
            return ""
        if not ref.semver:
            return check_tag(ref.tag or DEFAULT_TAG)

        async def choose() -> str:
            tags = await client.tags()
            # A repository may have a hundred thousand of them.
            return await in_thread(
                lambda _: choose_version(
                    tags,
                    ref.semver,
                    pattern=ref.semver_filter,
                    plus_as_underscore=media_type == HELM_CHART_LAYER,
                )
            )

        question = (domain, client.repository, ref.semver, ref.semver_filter, media_type)
        return await self._tags.get(question, choose, max_age=max_age)

    async def digest_of(
        self,
        client: RepositoryClient,
        ref: OCIRepositoryRef,
        tag: str,
        *,
        domain: tuple[str, str],
        max_age: float,
    ) -> Resolved:
        """The digest that a tag stands for; one in the spec is taken as it is.

        Raises:
            InvalidReference: the digest is none.
            OciError: the registry could not tell.

        """
        if not tag:
            return Resolved(parse_digest(ref.digest))
        question = (domain, client.repository, tag)
        digest = await self._digests.get(question, lambda: client.resolve(tag), max_age=max_age)
        return Resolved(digest, tag)

    async def prove(
        self, client: RepositoryClient, resolved: Resolved, *, domain: tuple[str, str]
    ) -> None:
        """Have the registry show that a digest of a spec may be read: knowing it is no right.

        Raises:
            OciError: it does not.

        """
        if resolved.tag:
            return  # it was just asked for by that name

        async def ask() -> Digest:
            return (await client.document(resolved.digest)).digest

        question = (domain, client.repository, resolved.digest)
        await self._proofs.get(question, ask)
