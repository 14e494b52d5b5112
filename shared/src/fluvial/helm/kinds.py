"""The order of kinds in which Helm makes and deletes objects. Kinds count by name, in any group."""

from __future__ import annotations

from typing import Final

__all__ = ["INSTALL_ORDER", "UNINSTALL_ORDER", "KindKey", "install_key", "uninstall_key"]

INSTALL_ORDER: Final = (
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)


def _reversed() -> tuple[str, ...]:
    """The reverse, but that Services go before what they lead to."""
    kinds = [kind for kind in reversed(INSTALL_ORDER) if kind != "Service"]
    kinds.insert(kinds.index("IngressClass") + 1, "Service")
    return tuple(kinds)


UNINSTALL_ORDER: Final = _reversed()

_INSTALL: Final = {kind: index for index, kind in enumerate(INSTALL_ORDER)}
_UNINSTALL: Final = {kind: index for index, kind in enumerate(UNINSTALL_ORDER)}

KindKey = tuple[int, str]


def install_key(kind: str) -> KindKey:
    """Key for sorting: known kinds in their order, then unknown ones by name."""
    return _key(_INSTALL, kind)


def uninstall_key(kind: str) -> KindKey:
    """Key for sorting: known kinds in their order of deletion, then unknown ones by name."""
    return _key(_UNINSTALL, kind)


def _key(order: dict[str, int], kind: str) -> KindKey:
    return (order[kind], "") if kind in order else (len(order), kind)
