"""What is asked of a registry (OCI distribution specification 1.1, section "Endpoints").

Nothing is handed out whose bytes do not have the digest they were asked by.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest, new_hasher
from fluvial.clock import Clock
from source_controller.oci.errors import (
    ContentTooLarge,
    InvalidContent,
    InvalidReference,
    NotFound,
    RegistryError,
    RegistryUnreachable,
)
from source_controller.oci.exchange import explain, read_body
from source_controller.oci.manifests import (
    ACCEPTED,
    INDEX_TYPES,
    OCI_INDEX,
    Descriptor,
    Document,
    Manifest,
    choose_child,
    parse_index,
    parse_manifest,
)
from source_controller.oci.reference import Repository, check_tag, parse_digest
from source_controller.oci.session import RegistrySession

__all__ = ["RepositoryClient"]

_DIGEST_HEADER = "Docker-Content-Digest"
_PAGE = 1000
_BLOCK = 1 << 18
_MAX_NESTING = 3
_LINK = re.compile(r'<([^<>]*)>\s*;\s*(?:[^,]*;\s*)?rel="?next"?', re.IGNORECASE)
_NO_HEAD = frozenset({404, 405, 501})


class RepositoryClient:
    """Reads one repository.

    Args:
        session: with its registry.
        repository: on that registry.
        clock: times downloads.

    """

    def __init__(self, session: RegistrySession, repository: Repository, *, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._limits = session.limits
        self.repository = repository

    # --- tags ---------------------------------------------------------------------------------

    async def tags(self) -> list[str]:
        """All tags, in the registry's order.

        Raises:
            NotFound: there is no such repository.
            ContentTooLarge: there are more than the limit allows.
            RegistryError, RegistryUnreachable, InvalidContent: see ``errors``.

        """
        found: list[str] = []
        async for page in self._pages("tags/list", f"n={_PAGE}", what=f"tags of {self.repository}"):
            tags = page.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise InvalidContent("the registry's list of tags is malformed")
            found += tags
            if len(found) > self._limits.max_tags:
                raise ContentTooLarge(
                    f"{self.repository} has more than {self._limits.max_tags} tags"
                )
        return found

    # --- manifests ----------------------------------------------------------------------------

    async def resolve(self, tag: str) -> Digest:
        """The digest that a tag stands for now: by HEAD, by GET where that tells nothing.

        Raises:
            InvalidReference: it is no tag.
            NotFound: there is no such tag.
            RegistryError, RegistryUnreachable, InvalidContent: see ``errors``.

        """
        check_tag(tag)
        try:
            async with self._session.request(
                "HEAD",
                self._path(f"manifests/{tag}"),
                scope=self._scope,
                what=f"{self.repository}:{tag}",
                headers={"Accept": ACCEPTED},
            ) as response:
                return parse_digest(response.headers.get(_DIGEST_HEADER, ""))
        except InvalidReference:
            pass  # no digest, or one that is none
        except RegistryError as error:
            if error.status not in _NO_HEAD:
                raise
        return (await self.document(tag)).digest

    async def document(self, reference: str | Digest) -> Document:
        """A manifest or index as it is stored.

        Args:
            reference: a tag, or the digest, which the bytes are checked against.

        Raises:
            NotFound: there is none.
            InvalidContent: the bytes are not what the digest says.
            ContentTooLarge: it is larger than manifests are.
            RegistryError, RegistryUnreachable: see ``errors``.

        """
        expected = reference if isinstance(reference, Digest) else None
        text = str(expected) if expected is not None else check_tag(str(reference))
        what = f"{self.repository}{'@' if expected else ':'}{text}"
        async with self._session.request(
            "GET",
            self._path(f"manifests/{text}"),
            scope=self._scope,
            what=what,
            headers={"Accept": ACCEPTED},
        ) as response:
            body = await read_body(
                response, limit=self._limits.max_manifest, what="the manifest", limits=self._limits
            )
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            claimed = response.headers.get(_DIGEST_HEADER, "")
        actual = _digest_of(body, expected.algorithm if expected else DEFAULT_ALGORITHM)
        if expected is not None and actual != expected:
            raise InvalidContent(f"the manifest that {what} brought has another digest")
        same_kind = claimed.partition(":")[0] == actual.algorithm
        if expected is None and same_kind and claimed != str(actual):
            raise InvalidContent(f"the registry calls {what} {claimed[:100]}, but it is {actual}")
        return Document(media_type, actual, body)

    async def manifest(self, digest: Digest) -> Manifest:
        """The manifest of a digest, or of its child for linux/amd64 if it is an index.

        Raises:
            NoMatch: an index without such a child.
            NotFound, InvalidContent, ContentTooLarge: as ``document``.
            RegistryError, RegistryUnreachable: see ``errors``.

        """
        document = await self.document(digest)
        for _ in range(_MAX_NESTING):
            if document.media_type not in INDEX_TYPES:
                return parse_manifest(document)
            document = await self.document(choose_child(parse_index(document, self._limits)).digest)
        raise InvalidContent(f"{self.repository}@{digest} nests indexes too deeply")

    # --- blobs --------------------------------------------------------------------------------

    async def download(self, blob: Descriptor, target: Path) -> None:
        """Write a blob to a file, which must not exist and is incomplete after an error.

        Raises:
            ContentTooLarge: it is larger than the limit.
            InvalidContent: it has another size or digest than its descriptor.
            NotFound, RegistryError, RegistryUnreachable: see ``errors``.

        """
        if blob.size > self._limits.max_blob:
            raise ContentTooLarge(
                f"the layer has {blob.size} bytes, more than the {self._limits.max_blob} allowed"
            )
        hasher, size = new_hasher(blob.digest.algorithm), 0
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            async with self._session.request(
                "GET",
                self._path(f"blobs/{blob.digest}"),
                scope=self._scope,
                what=f"blob {blob.digest} of {self.repository}",
            ) as response:
                async for block in self._stream(response):
                    size += len(block)
                    if size > blob.size:
                        raise InvalidContent(f"blob {blob.digest} is longer than described")
                    hasher.update(block)
                    out.write(block)
        if size != blob.size:
            raise InvalidContent(f"blob {blob.digest} has {size} bytes instead of {blob.size}")
        if Digest(blob.digest.algorithm, hasher.hexdigest()) != blob.digest:
            raise InvalidContent(f"what came for blob {blob.digest} has another digest")

    async def blob(self, blob: Descriptor) -> bytes:
        """A small blob, such as a signature.

        Raises:
            ContentTooLarge, InvalidContent, NotFound, RegistryError, RegistryUnreachable: as
                ``download``.

        """
        limit = self._limits.max_small_blob
        if blob.size > limit:
            raise ContentTooLarge(f"blob {blob.digest} has more than {limit} bytes")
        async with self._session.request(
            "GET",
            self._path(f"blobs/{blob.digest}"),
            scope=self._scope,
            what=f"blob {blob.digest} of {self.repository}",
        ) as response:
            body = await read_body(response, limit=limit, what="the blob", limits=self._limits)
        if len(body) != blob.size or _digest_of(body, blob.digest.algorithm) != blob.digest:
            raise InvalidContent(f"what came for blob {blob.digest} is not what is described")
        return body

    async def _stream(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body in blocks; an upstream that drips is left."""
        started, size = self._clock.monotonic(), 0
        try:
            async for block in response.content.iter_chunked(_BLOCK):
                size += len(block)
                late = self._clock.monotonic() - started - self._limits.slow_after
                if late > 0 and size < late * self._limits.min_rate:
                    raise RegistryUnreachable(
                        f"{response.url.host} sends less than {self._limits.min_rate} bytes/s"
                    )
                yield block
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RegistryUnreachable(explain(error, response.url)) from error

    # --- referrers ----------------------------------------------------------------------------

    async def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """The manifests whose subject is a digest.

        Asks the referrers API, and where the registry has none, the index under the tag that
        stands for it (``sha256-<hex>``).

        Raises:
            InvalidContent, ContentTooLarge, RegistryError, RegistryUnreachable: see ``errors``.

        """
        found: list[Descriptor] = []
        try:
            async for page in self._pages(
                f"referrers/{digest}", "", what=f"referrers of {self.repository}@{digest}"
            ):
                document = Document(OCI_INDEX, digest, orjson.dumps(page))
                found += parse_index(document, self._limits)
                if len(found) > self._limits.max_children:
                    raise ContentTooLarge(f"{digest} has too many referrers")
            return tuple(found)
        except RegistryError as error:
            if error.status not in {400, 404, 405}:
                raise
        try:
            document = await self.document(f"{digest.algorithm}-{digest.hex}")
        except NotFound:
            return ()
        return parse_index(document, self._limits) if document.media_type in INDEX_TYPES else ()

    # --- shared -------------------------------------------------------------------------------

    @property
    def _scope(self) -> str:
        return f"repository:{self.repository.name}:pull"

    def _path(self, rest: str) -> str:
        return f"{self.repository.name}/{quote(rest, safe='/:._-~')}"

    async def _pages(self, rest: str, query: str, *, what: str) -> AsyncIterator[dict[str, object]]:
        path, size = self._path(rest), 0
        for _ in range(self._limits.max_pages):
            async with self._session.request(
                "GET", path, scope=self._scope, what=what, query=query
            ) as response:
                body = await read_body(
                    response, limit=self._limits.max_answer, what=what, limits=self._limits
                )
                link = _LINK.search(",".join(response.headers.getall("Link", [])))
            size += len(body)
            if size > self._limits.max_list:
                raise ContentTooLarge(f"{what} have more than {self._limits.max_list} bytes")
            try:
                page = orjson.loads(body)
            except ValueError:
                page = None
            if not isinstance(page, dict):
                raise InvalidContent(f"the registry's answer for {what} is no JSON object")
            yield page
            if link is None:
                return
            query = await self._next(path, query, link[1])
        raise ContentTooLarge(
            f"the registry has more than {self._limits.max_pages} pages of {what}"
        )

    async def _next(self, path: str, query: str, link: str) -> str:
        """The query of the next page: the same path of the same registry, wherever it says it is.

        Registries behind a proxy often do not know their own scheme and host.
        """
        current = await self._session.url(path, query)
        try:
            target = current.join(URL(link, encoded=True))
        except ValueError:
            raise InvalidContent("the registry's link to the next page is no address") from None
        if target.raw_path != current.raw_path or target.raw_query_string in {"", query}:
            raise InvalidContent("the registry's link to the next page leads elsewhere")
        return target.raw_query_string


def _digest_of(body: bytes, algorithm: str) -> Digest:
    hasher = new_hasher(algorithm)
    hasher.update(body)
    return Digest(algorithm, hasher.hexdigest())
