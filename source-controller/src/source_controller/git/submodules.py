"""Submodules, whose addresses are a stranger's too.

``.gitmodules`` names paths and URLs. Only http, https and ssh are followed, relative URLs within
the parent's own address, and credentials go only to the very same scheme, host and port as the
parent's: otherwise a commit could have the token sent anywhere.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from fluvial.workers.errors import WorkerError
from source_controller.git.model import Auth

__all__ = ["Module", "auth_for", "parse_modules", "resolve_url"]

_SECTION = re.compile(r'\[\s*submodule\s+"((?:[^"\\]|\\.)*)"\s*\]', re.IGNORECASE)
_VALUE = re.compile(r"\s*([a-zA-Z][a-zA-Z0-9-]*)\s*=\s*(.*?)\s*")
_SCP = re.compile(
    r"(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:/\\-][^\\]*|/[^/\\][^\\]*)"
)
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Module:
    """One entry of ``.gitmodules``."""

    path: str
    url: str


@dataclass(frozen=True, slots=True)
class _Address:
    scheme: str
    host: str
    port: int


def parse_modules(data: bytes) -> dict[str, Module]:
    """The submodules by path. Includes and everything else Git configuration can do is ignored.

    Raises:
        WorkerError: code ``UnsafeRepository`` if the file is absurdly large.

    """
    if len(data) > _MAX_BYTES:
        raise WorkerError("UnsafeRepository", ".gitmodules is too large")
    modules: dict[str, Module] = {}
    section: dict[str, str] | None = None
    sections: list[dict[str, str]] = []
    for raw in data.decode(errors="replace").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = {} if _SECTION.fullmatch(line) else None
            if section is not None:
                sections.append(section)
        elif section is not None and (found := _VALUE.fullmatch(line)):
            section[found[1].lower()] = _unquote(found[2])
    for entry in sections:
        if entry.get("path") and entry.get("url"):
            modules[entry["path"].strip("/")] = Module(entry["path"].strip("/"), entry["url"])
    return modules


def resolve_url(url: str, *, parent: str) -> tuple[str, str]:
    """The absolute address of a submodule, and the user in it.

    Args:
        url: as ``.gitmodules`` has it: absolute, ``host:path``, or relative to the parent.
        parent: the parent's URL without user information.

    Raises:
        WorkerError: code ``UnsafeSubmodule`` for any other scheme or a path out of the host.

    """
    if url.startswith(("./", "../")):
        base = urlsplit(parent)
        joined = posixpath.normpath(posixpath.join(base.path.rstrip("/"), url))
        if not joined.startswith("/") or joined == "/":
            raise _unsafe(url)
        return urlunsplit((base.scheme, base.netloc, joined, "", "")), ""
    if "://" not in url and (scp := _SCP.fullmatch(url)):
        return f"ssh://{scp[2]}/{scp[3].lstrip('/')}", scp[1] or ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unsafe(url) from None
    if parts.scheme not in {"http", "https", "ssh"} or not parts.hostname or parts.query:
        raise _unsafe(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = f"{host}:{port}" if port else host
    # A password in .gitmodules is nobody's secret, but it is not ours to use either.
    return urlunsplit((parts.scheme, netloc, parts.path, "", "")), unquote(parts.username or "")


def auth_for(url: str, *, parent: str, auth: Auth) -> Auth:
    """What may be shown to a submodule's server: everything to the parent's own, else only trust."""
    if _address(url) == _address(parent):
        return auth
    return Auth(ca=auth.ca, known_hosts=auth.known_hosts)


def _address(url: str) -> _Address:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443, "ssh": 22}[parts.scheme]
    return _Address(parts.scheme, (parts.hostname or "").lower(), parts.port or default)


def _unquote(value: str) -> str:
    if quoted := re.match(r'"((?:[^"\\]|\\.)*)"', value):
        return re.sub(r"\\(.)", r"\1", quoted[1])
    return re.split(r"\s[#;]", value)[0].strip()


def _unsafe(url: str) -> WorkerError:
    scheme = url.split(":", maxsplit=1)[0][:20] if ":" in url else "a local path"
    return WorkerError(
        "UnsafeSubmodule",
        f"submodule URL with {scheme!r} is refused: only http, https and ssh are followed",
    )
