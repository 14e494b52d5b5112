"""From the address of a repository to its host and name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from yarl import URL

from notification_controller.provider.outgoing import SendFailed, checked_url
from notification_controller.provider.settings import Settings

__all__ = ["Repository", "repository"]

_SCP = re.compile(r"[A-Za-z0-9_.-]+@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/\s].*)")
_PART = re.compile(r"[^/?#%\\]+")
_RELATIVE = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository is.

    Attributes:
        host: scheme, name and port; nothing else.
        path: its name with those above it, without ``.git``.

    """

    host: URL
    path: tuple[str, ...]


def repository(to: Settings, *, least: int = 2, most: int = 2, form: str) -> Repository:
    """The repository that is a Provider's address.

    Args:
        to: the Provider; ``https``, ``ssh`` and ``user@host:path`` are taken, the API is asked
            by https of the same host either way.
        least: parts that the path has at least.
        most: and at most.
        form: of the path, for messages.

    Raises:
        SendFailed: the address is missing or not of that form; it is not repeated.

    """
    host, path = _split(to)
    bare = path.removesuffix("/").removesuffix(".git").removeprefix("/")
    parts = tuple(unquote(part) for part in bare.split("/"))
    if not least <= len(parts) <= most or not all(_is_part(part) for part in parts):
        raise SendFailed(
            f"the address of a Provider of type {to.type} must be a repository: {form}", again=False
        )
    return Repository(host, parts)


def _is_part(text: str) -> bool:
    return bool(_PART.fullmatch(text)) and text.isprintable() and text.strip() not in _RELATIVE


def _split(to: Settings) -> tuple[URL, str]:
    scp = _SCP.fullmatch(to.address)
    if scp:
        return checked_url(f"https://{scp['host']}"), scp["path"]
    if to.address.startswith("ssh://"):
        url = checked_url("https://" + to.address.removeprefix("ssh://"))
        return URL.build(scheme="https", host=url.host or ""), url.raw_path
    url = to.url
    return url.origin(), url.raw_path
