"""Takes values of Secrets out of what the API server says about them.

The server quotes values in some refusals ("Invalid value", failed conversions). Statuses and
events are readable by people who must not read the Secret, so nothing that was sent in ``data``
or ``stringData``, decoded or not, and no quoted value stays in the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import orjson

__all__ = ["mask_credentials", "mask_secret_text"]

_MASK = "***"
_SHORTEST = 4  # shorter values would blot out ordinary words; where quoted they go all the same
_QUOTED_VALUES = (
    (re.compile(r"got &value\.valueUnstructured\{.*", re.DOTALL), "got another type (***)"),
    (
        re.compile(r'(Invalid value|Unsupported value|Duplicate value): ("(?:[^"\\]|\\.)*"|[^:]+)'),
        r"\1: ***",
    ),
    (re.compile(r"(cannot unmarshal \w+) (?!into )\S+"), r"\1 ***"),
)


def mask_credentials(body: bytes, header: str, *, shortest: int = 1) -> bytes:
    """An answer without the token or password that its server was shown.

    Args:
        body: what the server said.
        header: ``Authorization`` of the request.
        shortest: length of what is looked for.

    """
    secret = header.partition(" ")[2].encode()
    return body.replace(secret, _MASK.encode()) if len(secret) >= max(shortest, 1) else body


def mask_secret_text(text: str, sent: bytes | None) -> str:
    """The text without anything secret.

    Args:
        text: what the server said about a Secret.
        sent: the request's body; a body that is not JSON hides the whole text.

    """
    for value in sorted(_values(sent), key=len, reverse=True):
        text = text.replace(value, _MASK)
    for pattern, replacement in _QUOTED_VALUES:
        text = pattern.sub(replacement, text)
    return text


def _values(sent: bytes | None) -> Iterator[str]:
    if not sent:
        return
    try:
        body = orjson.loads(sent)
    except orjson.JSONDecodeError:
        return
    for text in _strings(body, inside=False):
        if len(text) < _SHORTEST:
            continue
        yield text
        yield orjson.dumps(text).decode()[1:-1]
        try:
            decoded = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            continue
        if len(decoded) >= _SHORTEST:
            yield decoded


def _strings(node: Any, *, inside: bool) -> Iterator[str]:
    """Every text under ``data`` or ``stringData``, and every ``value`` of a JSON patch."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _strings(child, inside=inside or name in {"data", "stringData", "value"})
    elif isinstance(node, list):
        for child in node:
            yield from _strings(child, inside=inside)
    elif inside and node not in (None, "", True, False):
        yield node if isinstance(node, str) else str(node)
