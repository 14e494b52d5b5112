"""Content negotiation: which form of an object a client wants, in which encoding."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import yaml

from devcluster import errors

__all__ = ["Form", "Wanted", "negotiate", "not_acceptable", "prefers_yaml", "to_yaml"]

Form = Literal["full", "metadata", "table"]
_JSON = frozenset({"application/json", "*/*"})
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_KNOWN = f"application/json, application/yaml, {_PROTOBUF}"
_STREAMS = f"application/json;stream=watch, {_PROTOBUF};stream=watch"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``Accept`` asks for; ``is_list`` when it names a list kind, None when it names none."""

    form: Form = "full"
    version: str = "v1"
    yaml: bool = False
    is_list: bool | None = None


@functools.lru_cache(maxsize=256)
def negotiate(accept: str, *, watch: bool = False) -> Wanted:
    """The first clause that can be served; raises 406 when there is none.

    Protobuf and CBOR are passed over: clients that ask for them accept JSON as well.
    """
    if not accept:
        return Wanted()
    named = False
    for clause in _in_order(accept):
        media, *rest = (part.strip() for part in clause.split(";"))
        if media not in _JSON and media != "application/yaml":
            continue
        named = True
        params = dict(part.partition("=")[::2] for part in rest if "=" in part)
        wanted = _wanted(params, is_yaml=media == "application/yaml")
        if wanted is None:
            continue
        if watch and wanted.yaml:
            raise _only(_STREAMS)
        return wanted
    if named:
        raise _only(_KNOWN)
    known = f"{_KNOWN}, {_STREAMS}" if watch else _KNOWN
    raise errors.ApiFailure(
        406,
        "NotAcceptable",
        f"406: Not Acceptable\n\nAvailable representations: {known}",
        details={},
    )


def not_acceptable() -> errors.ApiFailure:
    """406 for a form that the object does not have."""
    return _only(_KNOWN)


def _in_order(accept: str) -> list[str]:
    """The clauses, those of more weight first."""
    clauses = accept.split(",")
    if ";q=" not in accept.replace(" ", ""):
        return clauses
    return sorted(clauses, key=_weight, reverse=True)


def _weight(clause: str) -> float:
    for part in clause.split(";"):
        name, _, value = part.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _only(known: str) -> errors.ApiFailure:
    text = f"only the following media types are accepted: {known}"
    return errors.ApiFailure(406, "NotAcceptable", text)


def prefers_yaml(accept: str) -> bool:
    """Whether refusals, too, are wanted as YAML: it is the first that can be had."""
    for clause in accept.split(",") if "yaml" in accept else ():
        media = clause.partition(";")[0].strip()
        if media in _JSON or media == "application/yaml":
            return media == "application/yaml"
    return False


def _wanted(params: dict[str, str], *, is_yaml: bool) -> Wanted | None:
    kind, version = params.get("as", ""), params.get("v", "")
    if not kind:
        return Wanted(yaml=is_yaml)
    if params.get("g") != "meta.k8s.io" or version not in {"v1", "v1beta1"}:
        return None
    if kind == "Table":
        return Wanted("table", version, is_yaml)
    if kind in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
        return Wanted("metadata", version, is_yaml, is_list=kind.endswith("List"))
    return None


def to_yaml(body: bytes) -> bytes:
    """A JSON body as YAML."""
    value: Any = orjson.loads(body)
    text: bytes = yaml.dump(
        value, Dumper=yaml.CSafeDumper, encoding="utf-8", allow_unicode=True, sort_keys=True
    )
    return text
