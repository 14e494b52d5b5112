r"""The values that a chart gets: ``valuesFrom`` in order, then ``values``.

Maps are merged key by key, anything else is replaced by what comes later. Two oddities are kept,
because releases depend on them: where a reference has a ``targetPath``, the inline
values are merged before its value is set, and once more at the end; what a path sets inside an
inline map therefore stays, and what it sets beside one does not. And ``null`` is a value like any
other here; it deletes a chart's default only when Helm lays the values over the chart's own.

Errors name the object and key and never quote what is in it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from fluvial.api.helm import ValuesReference
from fluvial.build import yaml
from fluvial.build.errors import YamlError
from fluvial.helm.errors import ValuesError
from fluvial.helm.strvals import StrvalsError, set_values
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import CONFIG_MAP, SECRET
from fluvial.objects import JsonObject, ObjectKey

__all__ = [
    "Composed",
    "FoundValues",
    "coalesce_tables",
    "compose",
    "inline_values",
    "merge_maps",
    "once_secret",
    "read_values",
    "resolve",
]

Values = dict[str, Any]

_AT_ONCE: Final = 64 * 1024
_LONG_NUMBER: Final = 6
"""Characters of a number that is told to nobody: there are ports and sizes in Secrets, too."""

_LONG_TEXT: Final = 4
_QUOTES: Final = "'\""
_SYNTAX: Final = str.maketrans({character: f"\\{character}" for character in "\\,[]{}"})
_RESOURCES: Final = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}


@dataclass(frozen=True, slots=True)
class FoundValues:
    """The text that a reference leads to.

    Attributes:
        ref: the reference.
        text: what is under its key.
        where: the object and key, for messages.

    """

    ref: ValuesReference
    text: str = field(repr=False)
    where: str


@dataclass(frozen=True, slots=True)
class Composed:
    """All values together.

    Attributes:
        values: a map of its own.
        secrets: the strings that came from Secrets, for masking.

    """

    values: Values = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


async def resolve(
    client: KubeClient, namespace: str, refs: Iterable[ValuesReference]
) -> list[FoundValues]:
    """Read what references lead to; each object is read once, so all keys are of one version.

    Args:
        client: the controller's own identity.
        namespace: of the HelmRelease; references stay in it.
        refs: ``spec.valuesFrom``.

    Returns:
        In the order of the references, without optional ones whose object or key is not there.

    Raises:
        ValuesError: an object or key is not there.
        ApiError: the API server said no.

    """
    objects: dict[tuple[str, str], dict[str, str] | None] = {}
    found = []
    for ref in refs:
        place = (ref.kind, ref.name)
        if place not in objects:
            objects[place] = await _data(client, ref.kind, ObjectKey(namespace, ref.name))
        where = f"{ref.kind} {namespace}/{ref.name}, key {ref.key}"
        data = objects[place]
        if data is not None and ref.key in data:
            found.append(FoundValues(ref, _text(data[ref.key], ref.kind, where), where))
        elif not ref.optional:
            missing = "the object is not there" if data is None else "it has no such key"
            raise ValuesError(f"values from {where}: {missing}", not_found=True)
    return found


async def _data(
    client: KubeClient, kind: Literal["Secret", "ConfigMap"], key: ObjectKey
) -> dict[str, str] | None:
    try:
        obj: JsonObject = await client.get(_RESOURCES[kind], key)
    except NotFound:
        return None
    return obj.get("data") or {}


def _text(value: str, kind: str, where: str) -> str:
    if kind != "Secret":
        return value
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValuesError(f"values from {where}: it is not UTF-8 text") from None


async def compose(inline: Values, found: Sequence[FoundValues]) -> Composed:
    """Put values together; large texts are read in a thread.

    Args:
        inline: ``spec.values``; not changed.
        found: what ``resolve`` gave.

    Raises:
        ValuesError: a text is not a map of values, or cannot be set at its path.

    """
    if sum(len(one.text) for one in found) <= _AT_ONCE:
        return _compose(inline, found)
    return await asyncio.to_thread(_compose, inline, found)


def _compose(inline: Values, found: Sequence[FoundValues]) -> Composed:
    # The paths' values are set in maps that the result shares with the inline values.
    own = copy.deepcopy(inline)
    result: Values = {}
    secrets: set[str] = set()
    for one in found:
        if one.ref.target_path:
            result = merge_maps(result, own)
            texts: Iterable[str] = (one.text, one.text.strip(_QUOTES), *_set_at(result, one))
        else:
            values = read_values(one.text.encode(), where=one.where)
            result = merge_maps(result, values)
            texts = _strings(values)
        if one.ref.kind == "Secret":
            secrets.update(texts)
    return Composed(copy.deepcopy(merge_maps(result, own)), frozenset(filter(None, secrets)))


def _set_at(values: Values, one: FoundValues) -> Iterator[str]:
    """Set a reference's text at its path; the strings that it is taken apart into."""
    text, strings = one.text, one.ref.literal
    if one.ref.literal:
        text = text.translate(_SYNTAX)
    elif text[:1] in _QUOTES and text[:1] and text.endswith(text[0]):
        text, strings = text.strip(_QUOTES), True
    try:
        set_values(values, f"{one.ref.target_path}={text}", strings=strings)
        alone: Values = {}
        set_values(alone, f"{one.ref.target_path}={text}", strings=strings)
    except StrvalsError as error:
        raise ValuesError(
            f"values from {one.where}: they cannot be set at {one.ref.target_path}: {error}"
        ) from None
    return _strings(alone)


def read_values(text: bytes, *, where: str = "values") -> Values:
    """The map in a YAML text; nothing at all is an empty one.

    Raises:
        ValuesError: it is not YAML, or not a map.

    """
    try:
        values = yaml.load_first(text)
    except YamlError as error:
        line = f" (line {error.line})" if error.line else ""
        raise ValuesError(f"values from {where}: the text is not YAML{line}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValuesError(f"values from {where}: the text is not a map of values")
    return values


def inline_values(values: Any) -> Values:
    """``spec.values`` as a map; what is not a map counts as nothing, as in Flux."""
    return values if isinstance(values, dict) else {}


def merge_maps(first: Values, second: Values) -> Values:
    """Both maps in a new one; where both have a map it is merged, else the second's value is taken.

    Maps that only one of them has are shared with the result.
    """
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[key] = merge_maps(old, value)
        else:
            merged[key] = value
    return merged


def coalesce_tables(values: Values, under: Values) -> Values:
    """Lay values over those of the last release.

    Helm drops a ``null`` together with what it lies over; then it takes away nothing of the values
    that the chart gets, and lies over nothing the next time, when it stays. Here it stays at once:
    it takes the value away, and values that do not change make the same whole again.

    Args:
        values: win; not changed.
        under: such as the last release's values (``upgrade.preserveValues``); not changed.

    """
    result = {}
    for key in [*values, *(key for key in under if key not in values)]:
        if key not in values:
            result[key] = copy.deepcopy(under[key])
            continue
        value, other = values[key], under.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            result[key] = coalesce_tables(value, other)
        else:
            result[key] = copy.deepcopy(value)
    return result


def once_secret(composed: Composed, before: Values) -> frozenset[str]:
    """Strings of the last release's values that may have come from a Secret.

    Nobody has written down which; so it is all that the values of today do not say in the open.

    Args:
        composed: the values of today.
        before: of the last release.

    """
    told = frozenset(_strings(composed.values)) - composed.secrets
    found = frozenset(text for text in _strings(before) if len(text) >= _LONG_TEXT)
    return found - told


def _strings(value: Any) -> Iterator[str]:
    """Every text among values, and long numbers as they may be written; short ones tell nothing."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_texts(value)


def _number_texts(number: float) -> Iterator[str]:
    """``83746529`` and, as Go writes it where all numbers are floating, ``8.3746529`` (e+07)."""
    first, *others = Decimal(repr(number)).normalize().as_tuple().digits
    texts = {str(number).lstrip("-"), f"{first}.{''.join(map(str, others))}"}
    yield from (text for text in texts if len(text) >= _LONG_NUMBER)
