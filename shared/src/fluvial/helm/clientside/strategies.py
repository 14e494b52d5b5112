"""Which lists and maps of the kinds of Kubernetes are merged in another way than by default.

By default maps merge and lists are replaced. What differs stands in the types of Kubernetes, and in
the OpenAPI documents that every server publishes as ``x-kubernetes-patch-strategy`` and
``x-kubernetes-patch-merge-key``. Those documents are 6.7 MB for all built-in kinds (v1 and apps/v1
alone 2.3 MB, 15 ms to decode), what they say of this fits on a page, and it changes by a line
or two a year: so it is a table here, and tests compare it with the published types and with what a
real server says.

The same holds for all versions of a kind. ``status`` is left out: no release writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["BUILT_IN_GROUPS", "PLAIN", "Rule", "is_built_in", "rules_of"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a field is merged.

    Attributes:
        merge: a list is merged item by item; otherwise it is replaced.
        key: the field that tells items apart; ``""`` for items that are no maps.
        retain: a map (for lists: each item) says which of its fields may stay.
        replace: a map is replaced.
        fields: those below it (for lists: of each item) that are not merged by default.

    """

    merge: bool = False
    key: str = ""
    retain: bool = False
    replace: bool = False
    fields: Mapping[str, Rule] = field(default_factory=dict)

    def below(self, name: str) -> Rule:
        """The rule of a field below this one."""
        return self.fields.get(name, PLAIN)


PLAIN: Final = Rule()
"""Maps merge, lists are replaced."""


def _by(key: str, *, retain: bool = False, **fields: Rule) -> Rule:
    return Rule(merge=True, key=key, retain=retain, fields=fields)


def _with(**fields: Rule) -> Rule:
    return Rule(fields=fields)


_METADATA: Final = _with(finalizers=Rule(merge=True), ownerReferences=_by("uid"))
_CONTAINERS: Final = _by(
    "name",
    env=_by("name"),
    ports=_by("containerPort"),
    volumeDevices=_by("devicePath"),
    volumeMounts=_by("mountPath"),
)
_VOLUME_CLAIM: Final = _with(volumeClaimTemplate=_with(metadata=_METADATA))
_POD_SPEC: Final = _with(
    containers=_CONTAINERS,
    ephemeralContainers=_CONTAINERS,
    evictionResponders=_by("name"),
    hostAliases=_by("ip"),
    imagePullSecrets=_by("name"),
    initContainers=_CONTAINERS,
    resourceClaims=_by("name", retain=True),
    schedulingGates=_by("name"),
    topologySpreadConstraints=_by("topologyKey"),
    volumes=_by("name", retain=True, ephemeral=_VOLUME_CLAIM),
)
_POD_TEMPLATE: Final = _with(metadata=_METADATA, spec=_POD_SPEC)
_OF_PODS: Final = _with(template=_POD_TEMPLATE)
_JOB_SPEC: Final = _with(template=_POD_TEMPLATE, scheduling=_with(resourceClaims=_by("name")))
_CONDITIONS: Final = _by("name")
_WEBHOOKS: Final = {"webhooks": _by("name", matchConditions=_CONDITIONS)}

_KINDS: Final[Mapping[tuple[str, str], Mapping[str, Rule]]] = {
    ("", "Node"): {"spec": _with(podCIDRs=Rule(merge=True))},
    ("", "Pod"): {"spec": _POD_SPEC},
    ("", "PodTemplate"): {"template": _POD_TEMPLATE},
    ("", "ReplicationController"): {"spec": _OF_PODS},
    ("", "Service"): {"spec": _with(ports=_by("port"))},
    ("", "ServiceAccount"): {"secrets": _by("name")},
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): {
        "spec": _with(matchConditions=_CONDITIONS)
    },
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): {
        "spec": _with(matchConditions=_CONDITIONS, variables=_by("name"))
    },
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _WEBHOOKS,
    ("apps", "DaemonSet"): {"spec": _OF_PODS},
    ("apps", "Deployment"): {"spec": _with(strategy=Rule(retain=True), template=_POD_TEMPLATE)},
    ("apps", "ReplicaSet"): {"spec": _OF_PODS},
    ("apps", "StatefulSet"): {"spec": _OF_PODS},
    ("batch", "CronJob"): {
        "spec": _with(jobTemplate=_with(metadata=_METADATA, spec=_JOB_SPEC)),
    },
    ("batch", "Job"): {"spec": _JOB_SPEC},
    ("policy", "PodDisruptionBudget"): {"spec": _with(selector=Rule(replace=True))},
    ("resource.k8s.io", "ResourceClaimTemplate"): {"spec": _with(metadata=_METADATA)},
    ("scheduling.k8s.io", "PodGroup"): {"spec": _with(resourceClaims=_by("name", retain=True))},
    ("storage.k8s.io", "CSINode"): {"spec": _with(drivers=_by("name"))},
}

BUILT_IN_GROUPS: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "lifecycle.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""Groups whose kinds take strategic merge patches from Helm.

It takes them for the types that its library has, which are those of the API server but for
``apiregistration.k8s.io``.
"""


def is_built_in(group: str) -> bool:
    """Whether the kinds of a group are Kubernetes' own, so that they take strategic patches."""
    return group in BUILT_IN_GROUPS


def rules_of(group: str, kind: str) -> Rule:
    """The rule of a built-in kind's objects."""
    return Rule(fields={"metadata": _METADATA, **_KINDS.get((group, kind), {})})
