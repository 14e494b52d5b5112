"""Errors without secrets."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from typing import Final

import orjson

__all__ = ["masked"]

_MASK: Final = "***"
_SHORTEST: Final = 3
"""A secret of one or two characters would mask half of every sentence."""


def masked(text: str, secrets: Collection[str]) -> str:
    """The text with every secret replaced, also where it stands encoded, quoted or cut into lines.

    Args:
        text: what Helm says.
        secrets: values out of Secrets.

    """
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _MASK)
    return text


def _forms(secret: str) -> Iterator[str]:
    plain = secret.strip()
    for each in {secret, plain, *plain.splitlines()}:
        if len(each) >= _SHORTEST:
            yield each
            yield orjson.dumps(each).decode()[1:-1]
            yield base64.b64encode(each.encode(errors="replace")).decode().rstrip("=")
