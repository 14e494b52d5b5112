"""What all kinds have in common: conditions, artifacts, references, and how a model is written.

A model is a msgspec Struct whose fields are the API's own in snake case (``depends_on`` is
``dependsOn`` on the wire). Specs and the values inside are frozen, statuses are not. Lists in
specs are tuples. A field without a default is required. ``Annotated`` carries what the CRD says
beyond the type: a ``doc`` line, constraints, a server-side ``default``. Constraints of specs are
enforced on decoding too; those of statuses are for the server alone (``schema_only``), so that a
status somebody else wrote never makes an object unreadable. ``kw_only`` and ``frozen`` are repeated on
every class: msgspec does not pass the first on, and type checkers do not see the second.

Times are RFC 3339 strings, so that what is not touched is written back as it was.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta, field

from fluvial.durations import parse_duration

__all__ = [
    "FINALIZER",
    "RECONCILE_REQUEST",
    "SHORTEST_INTERVAL",
    "Artifact",
    "CelRule",
    "Condition",
    "ConditionStatus",
    "Digest",
    "Duration",
    "KubeConfigReference",
    "LocalObjectReference",
    "Model",
    "MutableModel",
    "NamespacedObjectReference",
    "ObjectMeta",
    "SecretKeyReference",
    "Time",
    "doc",
    "schema_only",
    "seconds",
    "server_default",
]

FINALIZER = "finalizers.fluxcd.io"
RECONCILE_REQUEST = "reconcile.fluxcd.io/requestedAt"

ConditionStatus = Literal["True", "False", "Unknown"]


class CelRule(NamedTuple):
    """A validation rule that the API server evaluates on the struct that carries it."""

    rule: str
    message: str


class Model(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """Base of values: specs, references, entries of statuses."""

    __cel__: ClassVar[tuple[CelRule, ...]] = ()


class MutableModel(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Base of statuses, which a reconciler fills step by step."""

    __cel__: ClassVar[tuple[CelRule, ...]] = ()


def doc(text: str) -> Meta:
    """The description that the CRD shows for a field."""
    return Meta(description=text)


def schema_only(**keywords: Any) -> Meta:
    """JSON schema keywords for the CRD that decoding does not enforce."""
    return Meta(extra_json_schema=keywords)


def server_default(value: Any) -> Meta:
    """The default that the API server fills in."""
    return Meta(extra_json_schema={"default": value})


Duration = Annotated[str, Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
Digest = Annotated[str, schema_only(pattern=r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$")]
Time = Annotated[str, schema_only(format="date-time")]


SHORTEST_INTERVAL = 0.2
"""Seconds; shorter intervals count as this one, so that no object keeps a worker to itself."""


def seconds(duration: str | None, fallback: float) -> float:
    """A duration field in seconds, or ``fallback`` where it is not set.

    Raises:
        ValueError: the text is not a duration.

    """
    return parse_duration(duration) if duration else fallback


class ObjectMeta(Model, kw_only=True, frozen=True):
    """The part of an object's metadata that controllers read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None

    @property
    def reconcile_request(self) -> str:
        """The token of the last reconcile request by annotation, or ``""``."""
        return self.annotations.get(RECONCILE_REQUEST, "")


class Condition(Model, kw_only=True, frozen=True):
    """One aspect of an object's state, in the shape all of Kubernetes uses."""

    last_transition_time: Annotated[Time, doc("When status, reason or message last changed (UTC).")]
    message: Annotated[
        str, doc("What happened, for people; may be empty."), schema_only(maxLength=32768)
    ]
    observed_generation: Annotated[
        int,
        doc("The metadata.generation that this condition was made from."),
        schema_only(format="int64", minimum=0),
    ] = 0
    reason: Annotated[
        str,
        doc("Why the condition is as it is, as one word in CamelCase for programs."),
        schema_only(
            maxLength=1024, minLength=1, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
        ),
    ]
    status: Annotated[ConditionStatus, doc("Whether the condition holds.")]
    type: Annotated[
        str,
        doc("Name of the condition, in CamelCase or prefix.example.com/CamelCase."),
        schema_only(
            maxLength=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        ),
    ]


class Artifact(Model, kw_only=True, frozen=True):
    """A stored archive of a source at one revision."""

    digest: Annotated[Digest, doc("Checksum of the stored file, as algorithm:hex.")]
    last_update_time: Annotated[Time, doc("When the file was stored.")]
    metadata: Annotated[
        dict[str, str], doc("What the source says about itself, such as OCI annotations.")
    ] = field(default_factory=dict)
    path: Annotated[str, doc("Where the file lies, relative to the storage root.")]
    revision: Annotated[str, doc("What was fetched, such as main@sha1:<hash>.")]
    size: Annotated[int | None, doc("Size of the file in bytes."), schema_only(format="int64")] = (
        None
    )
    url: Annotated[str, doc("Address at which the file is served in the cluster.")]


class LocalObjectReference(Model, kw_only=True, frozen=True):
    """A reference by name within the namespace of the object that holds it."""

    name: Annotated[str, doc("Name of the object referred to.")]


class NamespacedObjectReference(Model, kw_only=True, frozen=True):
    """A reference by name and namespace."""

    name: Annotated[str, doc("Name of the object referred to.")]
    namespace: Annotated[
        str, doc("Its namespace; empty means that of the object that refers to it.")
    ] = ""


class SecretKeyReference(Model, kw_only=True, frozen=True):
    """A reference to one key of a Secret in the same namespace."""

    name: Annotated[str, doc("Name of the Secret.")]
    key: Annotated[
        str | None, doc("Key in the Secret; without it value, then value.yaml, is read.")
    ] = None


class KubeConfigReference(Model, kw_only=True, frozen=True):
    """Where the credentials of a remote cluster come from."""

    __cel__ = (
        CelRule(
            "has(self.configMapRef) != has(self.secretRef)",
            "exactly one of kubeConfig.configMapRef and kubeConfig.secretRef must be set",
        ),
    )

    config_map_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "ConfigMap that says how to obtain short-lived credentials: provider (aws, azure,"
            " gcp or generic), cluster, address, ca.crt, audiences, serviceAccountName."
        ),
    ] = None
    secret_ref: Annotated[
        SecretKeyReference | None, doc("Secret that holds a kubeconfig file.")
    ] = None
