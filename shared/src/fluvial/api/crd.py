"""CustomResourceDefinitions, generated from the models.

The models are the only source of field names, types, bounds, defaults and descriptions; this
module adds what concerns the kind as a whole (names, columns, categories) and turns types into a
structural OpenAPI schema. ``fluvial.api.manifests`` writes the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import msgspec
from msgspec import inspect

from fluvial.api import (
    helm,
    kustomize,
    notification,
    source,
    source_bucket,
    source_extensions,
    source_external,
    source_helmchart,
    source_oci,
)
from fluvial.objects import JsonObject

__all__ = ["HELM_RELEASE", "KINDS", "Column", "CrdKind", "crd", "schema_of"]

_FLUX_RELEASE = "v2.9.4"
"""The Flux release whose API is spoken; Flux's tools read it off the CRDs' version label."""

_API_VERSION_DOC = "API group and version that this object is written in."
_KIND_DOC = "Kind of this object."


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``."""

    name: str
    path: str
    type: str = "string"


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_STATUS = Column("Status", '.status.conditions[?(@.type=="Ready")].message')
_STATE = (_AGE, _READY, _STATUS)

_NEVER_SUBSTITUTED = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
"""A definition that describes ${...} must not have it substituted when it is applied."""


@dataclass(frozen=True, slots=True)
class CrdKind:
    """What a CRD says beyond its schema."""

    model: type[msgspec.Struct]
    group: str
    plural: str
    description: str
    component: str
    columns: tuple[Column, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("all", "fluxcd")
    annotations: dict[str, str] = field(default_factory=dict)
    default_status: bool = True
    has_status: bool = True
    version: str = "v1"

    @property
    def name(self) -> str:
        """The CRD's own name, which is also the stem of its file."""
        return f"{self.plural}.{self.group}"


_source = partial(
    CrdKind,
    group=source.GROUP,
    component="source-controller",
    categories=("all", "fluxcd", "fluxcd-sources"),
)
_notification = partial(
    CrdKind,
    group=notification.GROUP,
    component="notification-controller",
    categories=("all", "fluxcd", "fluxcd-notifications"),
    annotations=_NEVER_SUBSTITUTED,
)

HELM_RELEASE = CrdKind(
    model=helm.HelmRelease,
    group=helm.GROUP,
    plural="helmreleases",
    description="A Helm chart, released to a cluster.",
    component="helm-controller",
    short_names=("hr",),
    categories=("all", "fluxcd", "fluxcd-appliers"),
    columns=_STATE,
    annotations=_NEVER_SUBSTITUTED,
    version="v2",
)

KINDS: tuple[CrdKind, ...] = (
    _source(
        model=source.GitRepository,
        plural="gitrepositories",
        description="A Git repository whose content becomes an artifact.",
        short_names=("gitrepo",),
        columns=(Column("URL", ".spec.url"), *_STATE),
    ),
    _source(
        model=source.HelmRepository,
        plural="helmrepositories",
        description="A repository of Helm charts, whose index becomes an artifact.",
        short_names=("helmrepo",),
        columns=(Column("URL", ".spec.url"), *_STATE),
    ),
    _source(
        model=source_helmchart.HelmChart,
        plural="helmcharts",
        description="A Helm chart whose package becomes an artifact.",
        short_names=("hc",),
        columns=(
            Column("Chart", ".spec.chart"),
            Column("Version", ".spec.version"),
            Column("Source Kind", ".spec.sourceRef.kind"),
            Column("Source Name", ".spec.sourceRef.name"),
            *_STATE,
        ),
    ),
    _source(
        model=source_oci.OCIRepository,
        plural="ocirepositories",
        description="An artifact in an OCI registry that becomes an artifact here.",
        short_names=("ocirepo",),
        columns=(Column("URL", ".spec.url"), _READY, _STATUS, _AGE),
    ),
    _source(
        model=source_bucket.Bucket,
        plural="buckets",
        description="A bucket of object storage whose objects become an artifact.",
        columns=(Column("Endpoint", ".spec.endpoint"), *_STATE),
    ),
    _source(
        model=source_external.ExternalArtifact,
        plural="externalartifacts",
        description="An artifact that was made by something else than a source.",
        short_names=("ea",),
        columns=(*_STATE, Column("Source", ".spec.sourceRef.name")),
        default_status=False,
    ),
    _source(
        model=source_extensions.ArtifactGenerator,
        group=source_extensions.GROUP,
        plural="artifactgenerators",
        description="Artifacts that are made of other artifacts.",
        short_names=("ag",),
        columns=_STATE,
        annotations=_NEVER_SUBSTITUTED,
        default_status=False,
        version="v1beta1",
    ),
    CrdKind(
        model=kustomize.Kustomization,
        group=kustomize.GROUP,
        plural="kustomizations",
        description="A set of objects, built from a source and applied to a cluster.",
        component="kustomize-controller",
        short_names=("ks",),
        categories=("all", "fluxcd", "fluxcd-appliers"),
        columns=_STATE,
        annotations=_NEVER_SUBSTITUTED,
    ),
    HELM_RELEASE,
    _notification(
        model=notification.Alert,
        plural="alerts",
        description="A choice of events that a Provider tells.",
        columns=(_AGE,),
        has_status=False,
        version="v1beta3",
    ),
    _notification(
        model=notification.Provider,
        plural="providers",
        description="A service that people or programs are told by.",
        columns=(_AGE,),
        has_status=False,
        version="v1beta3",
    ),
    _notification(
        model=notification.Receiver,
        plural="receivers",
        description="An address that wakes objects when it is called.",
        columns=_STATE,
    ),
)
"""The kinds that have a controller. A kind's definition ships with its controller."""


def crd(kind: CrdKind) -> JsonObject:
    """The CustomResourceDefinition of a kind."""
    name = kind.model.__name__
    metadata: JsonObject = {
        "name": kind.name,
        "labels": {
            "app.kubernetes.io/component": kind.component,
            "app.kubernetes.io/part-of": "flux",
            "app.kubernetes.io/version": _FLUX_RELEASE,
        },
    }
    if kind.annotations:
        metadata["annotations"] = dict(kind.annotations)
    names: JsonObject = {
        "categories": list(kind.categories),
        "kind": name,
        "listKind": f"{name}List",
        "plural": kind.plural,
        "singular": name.lower(),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    version: JsonObject = {
        "name": kind.version,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if kind.has_status else {}),
        "additionalPrinterColumns": [
            {"name": column.name, "type": column.type, "jsonPath": column.path}
            for column in kind.columns
        ],
        "schema": {"openAPIV3Schema": _object_schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def schema_of(model: type[msgspec.Struct]) -> JsonObject:
    """The structural schema of a model: inlined, without titles, nulls or mere type defaults."""
    return _schema(_type_info(model))


@cache
def _type_info(model: type[msgspec.Struct]) -> inspect.Type:
    """What a model is made of: nothing else here takes as long."""
    return inspect.type_info(model)


def _object_schema(kind: CrdKind) -> JsonObject:
    parts = schema_of(kind.model)["properties"]
    # The API server accepts an object without a spec and kstatus needs a status from the start.
    fields = {name: parts[name] for name in ("spec", "status") if name in parts}
    if kind.has_status and kind.default_status:
        fields["status"]["default"] = {"observedGeneration": -1}
    return {
        "description": kind.description,
        "type": "object",
        "properties": {
            "apiVersion": {"description": _API_VERSION_DOC, "type": "string"},
            "kind": {"description": _KIND_DOC, "type": "string"},
            "metadata": {"type": "object"},
            **fields,
        },
    }


def _schema(info: inspect.Type) -> JsonObject:
    said: dict[str, Any] = {}
    while isinstance(info, inspect.Metadata | inspect.UnionType):
        if isinstance(info, inspect.Metadata):
            said |= info.extra_json_schema or {}
            info = info.type
        else:
            info = _only_alternative(info)
    schema = _by_type(info) | said
    first = {key: schema.pop(key) for key in ("description", "type") if key in schema}
    return first | schema


def _only_alternative(info: inspect.UnionType) -> inspect.Type:
    alternatives = [item for item in info.types if not isinstance(item, inspect.NoneType)]
    if len(alternatives) != 1:
        raise TypeError("a CRD field has one type; unions other than with None cannot be told")
    return alternatives[0]


def _by_type(info: inspect.Type) -> JsonObject:
    schema: JsonObject
    match info:
        case inspect.StructType():
            schema = _struct(info)
        case inspect.StrType():
            schema = {"type": "string", **dict(_string_bounds(info))}
        case inspect.BoolType():
            schema = {"type": "boolean"}
        case inspect.IntType():
            schema = {"type": "integer"}
        case inspect.LiteralType():
            schema = {"type": "string", "enum": list(info.values)}
        case inspect.DictType():
            schema = {"type": "object", "additionalProperties": _schema(info.value_type)}
        case inspect.ListType() | inspect.VarTupleType():
            schema = {"type": "array", "items": _schema(info.item_type)}
        case inspect.AnyType():
            schema = {"x-kubernetes-preserve-unknown-fields": True}
        case _:
            raise TypeError(f"no CRD schema for {info!r}")
    return schema


def _string_bounds(info: inspect.StrType) -> Iterator[tuple[str, Any]]:
    if info.max_length is not None:
        yield "maxLength", info.max_length
    if info.min_length is not None:
        yield "minLength", info.min_length
    if info.pattern is not None:
        yield "pattern", info.pattern


def _struct(info: inspect.StructType) -> JsonObject:
    schema: JsonObject = {"type": "object"}
    documentation = (info.cls.__doc__ or "").strip()
    if documentation:
        schema = {"description": " ".join(documentation.split()), **schema}
    schema["properties"] = {item.encode_name: _schema(item.type) for item in info.fields}
    required = [item.encode_name for item in info.fields if item.required]
    if required:
        schema["required"] = required
    rules = getattr(info.cls, "__cel__", ())
    if rules:
        schema["x-kubernetes-validations"] = [
            {"message": rule.message, "rule": rule.rule} for rule in rules
        ]
    return schema
