"""Azure's Shared Key: requests that prove who knows an account's key.

https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote

from yarl import URL

from source_controller.bucket.stores.errors import BadCredentials

__all__ = ["account_of", "decode_key", "string_to_sign", "with_shared_key"]

_STANDARD = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type"),
    *("date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)


def account_of(endpoint: URL) -> str:
    """The account of an endpoint: the first label of its host.

    Where the host is an address or ``localhost``, as that of an emulator, the path names it.
    """
    host = endpoint.host or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host != "localhost":
            return host.partition(".")[0]
    return endpoint.path.strip("/").partition("/")[0]


def decode_key(text: str) -> bytes:
    """The bytes of an account's key.

    Raises:
        BadCredentials: it is not base64, or empty.

    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise BadCredentials("'accountKey' is not a key of a storage account")
    return key


def with_shared_key(
    method: str, url: URL, headers: Mapping[str, str], *, account: str, key: bytes
) -> dict[str, str]:
    """The headers of a request without body, and the one that proves whose it is.

    Args:
        method: in capitals.
        url: encoded as it is sent.
        headers: all that are sent; ``x-ms-date`` and ``x-ms-version`` are among them.
        account: its name.
        key: its key.

    """
    text = string_to_sign(method, url, headers, account=account)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    return {**headers, "Authorization": f"SharedKey {account}:{signature}"}


def string_to_sign(method: str, url: URL, headers: Mapping[str, str], *, account: str) -> str:
    """What is signed of a request without body."""
    folded = {name.lower(): value.strip() for name, value in headers.items()}
    lines = [method, *(folded.get(name, "") for name in _STANDARD)]
    lines += [f"{name}:{folded[name]}" for name in sorted(folded) if name.startswith("x-ms-")]
    return "\n".join([*lines, f"/{account}{url.raw_path}{_query(url)}"])


def _query(url: URL) -> str:
    values: dict[str, list[str]] = {}
    for pair in filter(None, url.raw_query_string.split("&")):
        name, _, value = pair.partition("=")
        values.setdefault(unquote(name).lower(), []).append(unquote(value))
    return "".join(f"\n{name}:{','.join(sorted(values[name]))}" for name in sorted(values))
