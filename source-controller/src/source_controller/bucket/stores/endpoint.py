"""``spec.endpoint``: where the storage is."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from yarl import URL

from source_controller.bucket.stores.errors import StoreError
from source_controller.hosts import is_plain_host

__all__ = ["InvalidEndpoint", "encode_path", "encode_query", "parse_endpoint"]

_UNRESERVED = "-_.~"


class InvalidEndpoint(StoreError):
    """The text is not the address of a storage."""


def parse_endpoint(text: str, *, insecure: bool, whole: bool = False) -> URL:
    """An address without user information and fragment; its path ends in no slash.

    Args:
        text: ``host``, ``host:port``, or with ``http://`` or ``https://`` before it.
        insecure: without it ``http://`` is refused; with it, it is meant where no scheme is.
        whole: path and query may be there, too.

    Raises:
        InvalidEndpoint: with a message that does not repeat it, for it may hold a token.

    """
    scheme = "http" if insecure else "https"
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidEndpoint("spec.endpoint is not valid: it cannot be read") from None
    if parts.scheme not in {"http", "https"} or not is_plain_host(host):
        raise InvalidEndpoint("spec.endpoint is not valid: it needs a host, over http or https")
    if parts.scheme == "http" and not insecure:
        raise InvalidEndpoint("spec.endpoint is not valid: http:// needs spec.insecure")
    if parts.username is not None or parts.password is not None:
        raise InvalidEndpoint("spec.endpoint is not valid: credentials belong into spec.secretRef")
    if not whole and (parts.path not in {"", "/"} or parts.query):
        raise InvalidEndpoint("spec.endpoint is not valid: it is a host, and a port if need be")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise InvalidEndpoint("spec.endpoint is not valid: it has characters that none has")
    netloc = f"[{host}]" if ":" in host else host
    netloc = f"{netloc}:{port}" if port is not None else netloc
    path = quote(parts.path.rstrip("/"), safe="/%" + _UNRESERVED)
    query = f"?{quote(parts.query, safe='%=&+/' + _UNRESERVED)}" if parts.query else ""
    return URL(f"{parts.scheme}://{netloc}{path}{query}", encoded=True)


def encode_path(text: str, *, safe: str = "/") -> str:
    """A path as it is sent and signed."""
    return quote(text, safe=safe + _UNRESERVED)


def encode_query(fields: dict[str, str]) -> str:
    """A query as it is sent and signed: sorted, a space is ``%20``."""
    return "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(fields.items())
    )
