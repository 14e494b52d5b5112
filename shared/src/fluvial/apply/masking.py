"""Keeping secrets out of diffs, errors and events.

Masked are data, stringData and last-applied annotations of Secrets, and every string that came
from a Secret through substitution, values or decryption, also where the API server echoes it.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable

from fluvial.disguises import MOST, Search, forms_of
from fluvial.objects import JsonObject, gvk_of

__all__ = ["LAST_APPLIED", "MASK", "Masker", "is_secret", "secret_strings"]

MASK = "***"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SHORT = 4
_LINE = 8
_AT_ONCE = 200  # strings whose forms take a few milliseconds
_MAX_WORK = 500_000_000  # characters looked at, about half a second
_UNKNOWN = f"{MASK} (not shown: too many secret values to look for)"
_ECHO = re.compile(
    r"((?:Invalid|Unsupported|Duplicate|Too (?:long|many)) value|unable to decode"
    r"|cannot unmarshal|invalid value|illegal base64 data|expected \w+, got)[^\n]*"
)


def is_secret(obj: JsonObject) -> bool:
    """Whether an object is a core Secret, in any version."""
    gvk = gvk_of(obj)
    return gvk.kind == "Secret" and not gvk.group


def secret_strings(obj: JsonObject) -> frozenset[str]:
    """The values of a Secret's data (decoded and as written) and stringData."""
    found: set[str] = set()
    for text in _texts(obj.get("stringData")):
        found.add(text)
    for text in _texts(obj.get("data")):
        found.add(text)
        try:
            found.add(base64.b64decode(text, validate=True).decode())
        except ValueError:
            continue
    return frozenset(found)


def _texts(value: object) -> list[str]:
    """The leaves of whatever a manifest has in place of a map of texts."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None else [str(value)]


class Masker:
    """Replaces given strings in text.

    A string is found in every form that ``fluvial.disguises`` knows; of text with several lines
    also each line of 8 characters or more. Strings under 4 characters are replaced only where they
    stand alone, since replacing every "1" would hide the message. Where there are more strings than
    can be looked for, nothing of a text is shown.
    """

    __slots__ = ("_search", "_strings")

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._strings = frozenset(text for text in strings if text.strip())
        self._search: Search | None = None  # made when first needed

    @classmethod
    async def prepared(cls, strings: Iterable[str]) -> Masker:
        """A masker that needs no time when it is first used; others can run meanwhile."""
        masker = cls(strings)
        if _AT_ONCE < len(masker._strings) <= MOST:
            await asyncio.to_thread(masker._searching)
        return masker

    def extend(self, strings: Iterable[str]) -> Masker:
        """A masker that hides these strings too."""
        more = frozenset(text for text in strings if text.strip())
        return self if more <= self._strings else Masker(self._strings | more)

    def text(self, text: str) -> str:
        """The text with every secret string replaced by ``***``."""
        if len(self._strings) > MOST:
            return _UNKNOWN
        search = self._searching()
        if search.work(text) > _MAX_WORK:
            return _UNKNOWN
        for variant in search.found(text):
            if len(variant) < _SHORT:
                text = re.sub(rf"(?<!\w){re.escape(variant)}(?!\w)", MASK, text)
            else:
                text = text.replace(variant, MASK)
        return text

    def _searching(self) -> Search:
        if self._search is None:
            self._search = Search(form for one in self._strings for form in _variants(one))
        return self._search

    def message(self, text: str, *obj: JsonObject | None) -> str:
        """An API server's message about objects, of which some may be Secrets.

        About a Secret, the part of a line that may quote a value is dropped altogether.
        """
        secrets = [one for one in obj if one is not None and is_secret(one)]
        masker = self
        for one in secrets:
            masker = masker.extend(secret_strings(one))
        text = masker.text(text)
        return _ECHO.sub(rf"\1: {MASK}", text) if secrets else text


def _variants(text: str) -> set[str]:
    found = forms_of(text)
    lines = text.splitlines()
    if len(lines) > 1:
        found.update(line.strip() for line in lines if len(line.strip()) >= _LINE)
    return found
