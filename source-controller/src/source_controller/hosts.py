"""Names of hosts that somebody else wrote."""

from __future__ import annotations

import re

__all__ = ["is_plain_host"]

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_.])?|[0-9A-Fa-f:.]{2,45}")


def is_plain_host(host: str) -> bool:
    """Whether a text is a host name or an address and nothing that a parser could split."""
    return _HOST.fullmatch(host) is not None
