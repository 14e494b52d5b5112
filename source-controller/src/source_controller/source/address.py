"""The address of a source: taken apart, so that what is shown never has credentials in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from source_controller.hosts import is_plain_host
from source_controller.source import reasons
from source_controller.source.run import StepFailed

__all__ = ["Address", "parse_address"]


@dataclass(frozen=True, slots=True)
class Address:
    """A URL without its user information, and that information.

    Attributes:
        url: safe to show.
        scheme: one of those that were asked for.
        user: from the URL, decoded.
        password: from the URL, decoded.

    """

    url: str
    scheme: str
    user: str = field(repr=False)
    password: str = field(repr=False)


def parse_address(url: str, *, schemes: Collection[str]) -> Address:
    """Take a URL apart.

    Args:
        url: as the object has it.
        schemes: that can be fetched.

    Raises:
        StepFailed: ``URLInvalid``, stalled: it is not a URL that can be fetched.

    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise _invalid("the host or port cannot be read") from error
    if parts.scheme not in schemes or not is_plain_host(host or ""):
        *others, last = schemes
        raise _invalid(f"it needs the scheme {', '.join(others)} or {last}, and a host")
    assert host is not None  # noqa: S101  # checked above
    if any(char.isspace() or ord(char) < 32 for char in url):
        raise _invalid("it contains white space or control characters")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    return Address(
        urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")),
        parts.scheme,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def _invalid(problem: str) -> StepFailed:
    return StepFailed(
        reasons.FETCH_FAILED,
        reasons.URL_INVALID,
        f"spec.url is not valid: {problem}",
        kind="stalled",
    )
