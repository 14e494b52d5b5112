"""S3: of Amazon, and of all who speak it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and API_GetObject.html.
A bucket is named in the path, as every such storage takes it, and at Amazon in the host.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

from yarl import URL

from fluvial.clock import Clock
from fluvial.cloud.model import AwsCredentials
from fluvial.cloud.sigv4 import Signer
from source_controller.bucket.stores import xml
from source_controller.bucket.stores.endpoint import InvalidEndpoint, encode_path, encode_query
from source_controller.bucket.stores.errors import (
    InvalidAnswer,
    NoBucket,
    Refused,
    TooLarge,
)
from source_controller.bucket.stores.http import HttpBody, Make, Requests, Sent
from source_controller.bucket.stores.model import Item

__all__ = ["Keys", "S3Store"]

Keys = Callable[[], Awaitable[AwsCredentials | None]]
"""Gives what requests are signed with; ``None`` for requests that are not."""

_DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_AMAZON = re.compile(
    r"s3(?:-accelerate)?[.-](?:dualstack\.)?"
    r"(?:(?P<region>[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})\.)?amazonaws\.com(?P<china>\.cn)?"
)
_OLD_NAMES = {"": _DEFAULT_REGION, "EU": "eu-west-1"}
_MAX_LOCATION = 64 << 10


class S3Store:
    """One bucket.

    Args:
        requests: of the trust domain.
        endpoint: scheme, host and port.
        bucket: its name.
        region: ``""`` to ask for it.
        keys: see ``Keys``.
        clock: for signatures.

    Raises:
        InvalidEndpoint: the region is none.

    """

    def __init__(
        self,
        requests: Requests,
        *,
        endpoint: URL,
        bucket: str,
        region: str,
        keys: Keys,
        clock: Clock,
    ) -> None:
        self._requests = requests
        self._endpoint = endpoint
        self._bucket = bucket
        if region and not _REGION.fullmatch(region):
            raise InvalidEndpoint("spec.region is not valid: it is the name of none")
        self._region = region or _region_of(endpoint)
        self._keys = keys
        self._clock = clock

    async def pages(self, prefix: str) -> AsyncIterator[tuple[Item, ...]]:
        """See ``model.Store``."""
        await self._find_region()
        token = ""
        for _ in range(self._requests.limits.max_pages):
            fields = {"list-type": "2", "max-keys": "1000", "encoding-type": "url"}
            if prefix:
                fields["prefix"] = prefix
            if token:
                fields["continuation-token"] = token
            data = await self._requests.read(
                self._maker("", fields, what=f"the list of bucket {self._bucket!r}")
            )
            page = await asyncio.to_thread(_read_page, data)
            yield page[0]
            if not page[1]:
                return
            token = page[1]
        raise TooLarge(f"the list of bucket {self._bucket!r} does not end")

    @asynccontextmanager
    async def open(self, key: str, *, pinned: Item | None = None) -> AsyncIterator[HttpBody]:
        """See ``model.Store``."""
        await self._find_region()
        headers = {"If-Match": f'"{pinned.etag}"'} if pinned is not None else {}
        make = self._maker(key, {}, what=f"object {key!r}", headers=headers)
        async with self._requests.content(make, key=key) as response:
            yield HttpBody(response)

    async def _find_region(self) -> None:
        if self._region:
            return
        self._region = _DEFAULT_REGION  # whoever asks where a bucket is asks there
        make = self._maker("", {"location": ""}, what=f"the region of bucket {self._bucket!r}")
        try:
            data = await self._requests.read(make, limit=_MAX_LOCATION)
        except NoBucket:
            raise
        except Refused as error:
            # Not all who may read a bucket may ask, and not every storage tells.
            if error.region and _REGION.fullmatch(error.region):
                self._region = error.region
            return
        named = xml.parse(data).text.strip()
        found = _OLD_NAMES.get(named, named)
        if not _REGION.fullmatch(found):
            raise InvalidAnswer(f"{self._endpoint.host} gave a region that is none")
        self._region = found

    def _maker(
        self, key: str, fields: dict[str, str], *, what: str, headers: dict[str, str] | None = None
    ) -> Make:
        async def make() -> Sent:
            url = self._url(key, fields)
            keys = await self._keys()
            if keys is None:
                return Sent("GET", url, what, headers or {})
            signer = Signer(keys, self._region, "s3")
            signed = signer.sign("GET", url, now=self._clock.now(), headers=headers)
            return Sent("GET", url, what, signed)

        return make

    def _url(self, key: str, fields: dict[str, str]) -> URL:
        base, bucket = self._endpoint, encode_path(self._bucket, safe="")
        host = base.host or ""
        amazon = _AMAZON.fullmatch(host)
        path = f"/{bucket}/{encode_path(key)}"
        if amazon is not None:
            if not amazon["region"] and self._region != _DEFAULT_REGION:
                host = f"s3.{self._region}.amazonaws.com{amazon['china'] or ''}"
            if _LABEL.fullmatch(self._bucket):  # no certificate of Amazon's is for two labels
                host = f"{bucket}.{host}"
                path = f"/{encode_path(key)}"
            base = URL.build(scheme=base.scheme, host=host, port=base.explicit_port)
        query = f"?{encode_query(fields)}" if fields else ""
        return URL(f"{str(base).rstrip('/')}{path}{query}", encoded=True)


def _region_of(endpoint: URL) -> str:
    amazon = _AMAZON.fullmatch(endpoint.host or "")
    return (amazon["region"] or "") if amazon is not None else ""


def _read_page(data: bytes) -> tuple[tuple[Item, ...], str]:
    """The objects of a page, and the token of the next one. Blocks."""
    root = xml.parse(data)
    if root.name != "ListBucketResult":
        raise InvalidAnswer("the list of the bucket is not one of S3")
    coded = root.value("EncodingType").lower() == "url"
    try:
        items = tuple(
            Item.read(
                _plain(found.value("Key"), coded=coded), found.value("ETag"), found.value("Size")
            )
            for found in root.all("Contents")
        )
    except ValueError as error:
        raise InvalidAnswer("the list of the bucket has an object that cannot be read") from error
    if root.value("IsTruncated") != "true":
        return items, ""
    token = root.value("NextContinuationToken")
    if not token:
        raise InvalidAnswer("the list of the bucket breaks off")
    return items, token


def _plain(key: str, *, coded: bool) -> str:
    return unquote(key.replace("+", " "), errors="strict") if coded else key
