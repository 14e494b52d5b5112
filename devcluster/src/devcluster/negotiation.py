"""Content negotiation: which form of an object a client wants, in which encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson
import yaml

from devcluster import errors

__all__ = ["Form", "Wanted", "negotiate", "to_yaml"]

Form = Literal["full", "metadata", "table"]
_JSON = frozenset({"application/json", "*/*", "application/*"})
_KNOWN = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``Accept`` asks for; ``is_list`` when it names a list kind, None when it names none."""

    form: Form = "full"
    version: str = "v1"
    yaml: bool = False
    is_list: bool | None = None


def negotiate(accept: str) -> Wanted:
    """The first clause that can be served; raises 406 when there is none.

    Protobuf and CBOR are passed over: clients that ask for them accept JSON as well.
    """
    if not accept:
        return Wanted()
    named = False
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        if media not in _JSON and media != "application/yaml":
            continue
        named = True
        params = dict(part.partition("=")[::2] for part in rest if "=" in part)
        wanted = _wanted(params, is_yaml=media == "application/yaml")
        if wanted is not None:
            return wanted
    if named:
        raise errors.ApiFailure(
            406, "NotAcceptable", f"only the following media types are accepted: {_KNOWN}"
        )
    raise errors.ApiFailure(
        406,
        "NotAcceptable",
        f"406: Not Acceptable\n\nAvailable representations: {_KNOWN}",
        details={},
    )


def _wanted(params: dict[str, str], *, is_yaml: bool) -> Wanted | None:
    kind, version = params.get("as", ""), params.get("v", "v1")
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
