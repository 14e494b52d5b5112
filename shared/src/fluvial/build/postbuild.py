"""Variables put into built objects (Flux: ``spec.postBuild``).

Each object is written as YAML, substituted as text and read again, so a plain scalar ``${n}``
becomes a number where its value is one, and a value may contain structure. What comes out of
here may hold values of Secrets: it belongs in no shared cache, and ``Substituted.secrets`` says
what to mask wherever the object is shown.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from fluvial.api.kustomize import SubstituteStrategy
from fluvial.artifact.threads import in_thread
from fluvial.build import yaml
from fluvial.build.errors import SubstitutionError, YamlError
from fluvial.build.pace import Pace
from fluvial.build.substitute import Expansion, expand
from fluvial.objects import JsonObject, annotations_of, labels_of, ref_of

__all__ = [
    "Substituted",
    "VariableSource",
    "Variables",
    "apply_variables",
    "collect_variables",
]

_SWITCH: Final = "kustomize.toolkit.fluxcd.io/substitute"
_DISABLED: Final = "disabled"
_MAX_TOTAL: Final = 64 * 1024**2
_INLINE: Final = 32 * 1024
_REPLACES: Final = re.compile(rb"\$\{\w+/")
_NAME: Final = re.compile(r"[_A-Za-z][_A-Za-z0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class VariableSource:
    """The data of one ConfigMap or Secret, decoded; the values of a Secret are masked later."""

    values: Mapping[str, str] = field(repr=False)
    is_secret: bool = False

    @classmethod
    def from_object(cls, obj: JsonObject) -> VariableSource:
        """Read ``data`` of a ConfigMap or a Secret; binary data of a ConfigMap is not used.

        Raises:
            SubstitutionError: a value of a Secret is not base64 or not UTF-8 text.

        """
        data = obj.get("data") or {}
        if obj.get("kind") != "Secret":
            return cls({key: str(value) for key, value in data.items()})
        values = {}
        for key, value in data.items():
            try:
                values[key] = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise SubstitutionError(
                    f"{ref_of(obj)}: the value of key {key!r} is not text; variables must be"
                ) from None
        return cls(values, is_secret=True)


@dataclass(frozen=True, slots=True)
class Variables:
    """Values by name, and which of the names have theirs from a Secret."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Substituted:
    """An object after substitution.

    Attributes:
        secrets: every text that came from a Secret into this object, for masking: the values,
            what operators made of them, and the strings that YAML read from them.
        size: characters of the text after substitution; 0 where there was none.

    """

    object: JsonObject = field(repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    size: int = 0


def collect_variables(
    sources: Iterable[VariableSource], inline: Mapping[str, str] | None = None
) -> Variables:
    """Put variables together: a later source wins over an earlier one, ``inline`` over all.

    Line breaks are removed from every value, as Flux does.
    """
    values: dict[str, str] = {}
    secret: set[str] = set()
    for source in (*sources, VariableSource(inline or {})):
        for name, value in source.values.items():
            values[name] = value.replace("\n", "")
            if source.is_secret:
                secret.add(name)
            else:
                secret.discard(name)
    return Variables(values, frozenset(secret))


async def apply_variables(
    objects: Iterable[JsonObject],
    variables: Variables,
    *,
    strategy: SubstituteStrategy | None = None,
    strict: bool,
) -> list[Substituted]:
    """Substitute in every object that does not disable it by label or annotation.

    Lets others run in between; what may become large is done in a thread.

    Args:
        objects: built objects; not changed.
        variables: from ``collect_variables``.
        strategy: ``WithVariables`` (the default) does nothing where there are no variables, not
            even ``$$``; ``Always`` substitutes in any case.
        strict: whether a variable that is not set is an error.

    Raises:
        SubstitutionError: a variable's name is not one, an expression is malformed or its
            variable not set, the result is not an object, or all results together are too
            large. Names the object, never a value.

    """
    if not variables.values and strategy != "Always":
        return [Substituted(obj) for obj in objects]
    for name in variables.values:
        if not _NAME.fullmatch(name):
            raise SubstitutionError(
                f"{name!r} cannot be a variable: names are letters, digits and _ and do not"
                " start with a digit"
            )
    longest = max(map(len, variables.values.values()), default=0)
    left, pace = _MAX_TOTAL, Pace()
    results = []
    for obj in objects:
        raw = orjson.dumps(obj)
        if b"$" not in raw or _is_disabled(obj):
            results.append(Substituted(obj))
            continue
        job = functools.partial(_substitute, obj, variables, strict=strict)
        is_small = len(raw) + raw.count(b"${") * longest <= _INLINE and not _REPLACES.search(raw)
        result = job() if is_small else await in_thread(lambda _, job=job: job())  # type: ignore[misc]  # a lambda with a default has no inferred type
        left -= result.size
        if left < 0:
            raise SubstitutionError(
                f"{ref_of(obj)}: with this the objects are larger than {_MAX_TOTAL // 1024**2} MiB"
                " after substitution"
            )
        results.append(result)
        await pace.breathe()
    return results


def _substitute(obj: JsonObject, variables: Variables, *, strict: bool) -> Substituted:
    try:
        text = yaml.dump(obj).decode()
        expansion = expand(text, variables.values, strict=strict)
    except SubstitutionError as error:
        raise SubstitutionError(f"{ref_of(obj)}: {error}") from None
    secrets = _secret_texts(expansion, variables)
    result = _read_again(obj, expansion.text, is_secret=bool(secrets))
    return Substituted(result, frozenset(secrets), len(expansion.text))


def _is_disabled(obj: JsonObject) -> bool:
    return _DISABLED in (labels_of(obj).get(_SWITCH), annotations_of(obj).get(_SWITCH))


def _read_again(obj: JsonObject, text: str, *, is_secret: bool) -> JsonObject:
    try:
        result = yaml.load_one(text.encode(errors="surrogateescape"))
    except YamlError as error:
        # The parser's words may quote a part of a value.
        problem = "" if is_secret else f" ({error.problem})"
        raise SubstitutionError(
            f"{ref_of(obj)}: not valid YAML after substitution, line {error.line}{problem}; a"
            " value with special characters needs quotes around its ${...}"
        ) from None
    if not isinstance(result, dict):
        raise SubstitutionError(f"{ref_of(obj)}: not an object after substitution")
    return result


def _secret_texts(expansion: Expansion, variables: Variables) -> set[str]:
    texts: set[str] = set()
    for name, text in expansion.contributions:
        if name in variables.secret_names:
            texts.add(text)
            texts.add(variables.values[name])
            texts.update(_strings_in(text))
    texts.discard("")
    return texts


def _strings_in(text: str) -> set[str]:
    """What YAML makes of a value that stands plain or between quotes, where it is read at all."""
    found: set[str] = set()
    for form in (text, f'"{text}"', f"'{text}'"):
        try:
            found.update(_leaves(yaml.load_one(form.encode(errors="surrogateescape"))))
        except YamlError:
            continue
    return found


def _leaves(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield orjson.dumps(value).decode()  # 0x1F is 31 from here on
