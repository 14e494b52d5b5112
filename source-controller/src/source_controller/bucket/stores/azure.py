"""Azure Blob Storage; a bucket is a container there.

https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs and /get-blob.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import format_datetime

from yarl import URL

from fluvial.clock import Clock
from source_controller.bucket.stores import xml
from source_controller.bucket.stores.endpoint import encode_path, encode_query
from source_controller.bucket.stores.errors import InvalidAnswer, TooLarge
from source_controller.bucket.stores.http import HttpBody, Make, Requests, Sent
from source_controller.bucket.stores.model import Item

__all__ = ["API_VERSION", "Authorize", "AzureStore"]

API_VERSION = "2020-10-02"
"""Later ones may encode names in lists."""

Authorize = Callable[[str, URL, Mapping[str, str]], Awaitable[dict[str, str]]]
"""From method, address and headers to the headers with what proves who asks."""


class AzureStore:
    """One container.

    Args:
        requests: of the trust domain.
        endpoint: scheme, host, port, and the path of an emulator's account.
        sas: query that proves who asks; ``""`` for none.
        container: its name.
        authorize: see ``Authorize``.
        clock: for dates.

    """

    def __init__(
        self,
        requests: Requests,
        *,
        endpoint: URL,
        sas: str,
        container: str,
        authorize: Authorize,
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._base = str(endpoint.with_query(None)).rstrip("/")
        self._sas = sas
        self._container = container
        self._authorize = authorize
        self._clock = clock

    async def pages(self, prefix: str) -> AsyncIterator[tuple[Item, ...]]:
        """See ``model.Store``."""
        marker = ""
        for _ in range(self._requests.limits.max_pages):
            fields = {"restype": "container", "comp": "list", "maxresults": "1000"}
            if prefix:
                fields["prefix"] = prefix
            if marker:
                fields["marker"] = marker
            make = self._maker("", fields, what=f"the list of container {self._container!r}")
            data = await self._requests.read(make)
            items, marker = await asyncio.to_thread(_read_page, data)
            yield items
            if not marker:
                return
        raise TooLarge(f"the list of container {self._container!r} does not end")

    @asynccontextmanager
    async def open(self, key: str, *, pinned: Item | None = None) -> AsyncIterator[HttpBody]:
        """See ``model.Store``."""
        headers = {"If-Match": f'"{pinned.etag}"'} if pinned is not None else {}
        make = self._maker(key, {}, what=f"object {key!r}", headers=headers)
        async with self._requests.content(make, key=key) as response:
            yield HttpBody(response)

    def _maker(
        self,
        key: str,
        fields: dict[str, str],
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
    ) -> Make:
        path = f"/{encode_path(self._container, safe='')}" + (f"/{encode_path(key)}" if key else "")
        query = "&".join(filter(None, (encode_query(fields), self._sas)))
        url = URL(f"{self._base}{path}{'?' if query else ''}{query}", encoded=True)

        async def make() -> Sent:
            sent = {
                "x-ms-date": format_datetime(self._clock.now(), usegmt=True),
                "x-ms-version": API_VERSION,
                **(headers or {}),
            }
            return Sent("GET", url, what, await self._authorize("GET", url, sent))

        return make


def _read_page(data: bytes) -> tuple[tuple[Item, ...], str]:
    """The blobs of a page, and the marker of the next one. Blocks."""
    root = xml.parse(data.removeprefix(b"\xef\xbb\xbf"))
    if root.name != "EnumerationResults":
        raise InvalidAnswer("the list of the container is not one of Azure")
    try:
        items = tuple(
            Item.read(
                found.value("Name"),
                found.value("Properties", "Etag"),
                found.value("Properties", "Content-Length"),
            )
            for found in root.all("Blobs", "Blob")
            if found.value("Properties", "ResourceType") != "directory"
        )
    except ValueError as error:
        raise InvalidAnswer("the list of the container has a blob that cannot be read") from error
    return items, root.value("NextMarker")
