"""Errors without secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from fluvial.disguises import MOST, Search, forms_of

__all__ = ["masked"]

_MASK: Final = "***"
_SHORTEST: Final = 3
"""A secret of one or two characters would mask half of every sentence."""


def masked(text: str, secrets: Collection[str]) -> str:
    """The text with every secret replaced, also where it stands encoded, quoted or cut into lines.

    It takes a second where there are very many: call it in a thread.

    Args:
        text: what Helm says.
        secrets: values out of Secrets; of more than can be looked for nothing is told.

    """
    if len(secrets) > MOST:
        return f"{_MASK} (not shown: too many secret values to look for)"
    search = Search(form for secret in secrets for form in _forms(secret))
    for form in search.found(text):
        text = text.replace(form, _MASK)
    return text


def _forms(secret: str) -> Iterator[str]:
    plain = secret.strip()
    for each in {secret, plain, *plain.splitlines()}:
        if len(each) >= _SHORTEST:
            yield from (form for form in forms_of(each) if len(form) >= _SHORTEST)
