"""Which validators look at which built-in kind."""

from __future__ import annotations

from collections.abc import Callable

from devcluster.fields.builtin import (
    access,
    core,
    definitions,
    events,
    network,
    pods,
    policies,
    workloads,
)
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject, TypeSchema

__all__ = ["check_create", "check_update"]

Create = Callable[[Checker, JsonObject], None]
Update = Callable[[Checker, JsonObject, JsonObject], None]


def check_create(checker: Checker, obj: JsonObject, schema: TypeSchema) -> None:
    """What the kind demands of a new object."""
    validate = _CREATE.get((schema.group, schema.kind))
    if validate is not None:
        validate(checker, obj)


def check_update(checker: Checker, new: JsonObject, old: JsonObject, schema: TypeSchema) -> None:
    """What the kind demands of a changed object."""
    validate = _UPDATE.get((schema.group, schema.kind))
    if validate is not None:
        validate(checker, new, old)


def _same(validate: Create) -> Update:
    """An update is judged by the new object alone."""
    return lambda checker, new, _old: validate(checker, new)


def _unless_same_spec(validate: Update) -> Update:
    """Skip a spec that is what is stored: it has passed these checks, which see nothing else."""

    def check(checker: Checker, new: JsonObject, old: JsonObject) -> None:
        if new["spec"] != old["spec"]:
            validate(checker, new, old)

    return check


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_NET = "networking.k8s.io"
_CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")

_CREATE: dict[tuple[str, str], Create] = {
    ("", "Pod"): pods.check_pod,
    ("", "Service"): core.service,
    ("", "ConfigMap"): core.config_map,
    ("", "Secret"): core.secret,
    ("", "Namespace"): core.namespace,
    ("", "PersistentVolumeClaim"): core.volume_claim,
    ("", "PersistentVolume"): core.volume,
    ("", "Endpoints"): core.endpoints,
    ("", "Event"): events.core_event,
    ("events.k8s.io", "Event"): events.create_event,
    ("", "ResourceQuota"): core.resource_quota,
    ("", "LimitRange"): core.limit_range,
    ("", "ReplicationController"): workloads.replication_controller,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): workloads.cron_job,
    (_RBAC, "Role"): access.role,
    (_RBAC, "ClusterRole"): access.cluster_role,
    (_RBAC, "RoleBinding"): access.role_binding,
    (_RBAC, "ClusterRoleBinding"): access.cluster_role_binding,
    (_ADMISSION, "ValidatingWebhookConfiguration"): access.webhooks,
    (_ADMISSION, "MutatingWebhookConfiguration"): access.webhooks,
    (_NET, "Ingress"): network.create_ingress,
    (_NET, "IngressClass"): network.ingress_class,
    (_NET, "NetworkPolicy"): network.network_policy,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice,
    ("policy", "PodDisruptionBudget"): policies.disruption_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): policies.autoscaler,
    ("storage.k8s.io", "StorageClass"): policies.storage_class,
    ("scheduling.k8s.io", "PriorityClass"): policies.priority_class,
    ("node.k8s.io", "RuntimeClass"): policies.runtime_class,
    ("coordination.k8s.io", "Lease"): policies.lease,
    _CRD: definitions.definition,
}

_UPDATE: dict[tuple[str, str], Update] = {
    **{key: _same(validate) for key, validate in _CREATE.items()},
    ("", "Pod"): pods.check_pod_update,
    ("events.k8s.io", "Event"): events.update_event,
    ("", "Service"): core.update_service,
    ("", "ConfigMap"): core.update_config_map,
    ("", "Secret"): core.update_secret,
    ("", "PersistentVolumeClaim"): core.update_volume_claim,
    ("", "PersistentVolume"): core.update_volume,
    ("apps", "Deployment"): _unless_same_spec(workloads.update_deployment),
    ("apps", "ReplicaSet"): _unless_same_spec(workloads.update_replica_set),
    ("apps", "StatefulSet"): _unless_same_spec(workloads.update_stateful_set),
    ("apps", "DaemonSet"): _unless_same_spec(workloads.update_daemon_set),
    ("apps", "ControllerRevision"): workloads.update_revision,
    ("batch", "Job"): _unless_same_spec(workloads.update_job),
    (_RBAC, "RoleBinding"): access.update_role_binding,
    (_RBAC, "ClusterRoleBinding"): access.update_cluster_role_binding,
    (_NET, "Ingress"): _same(network.ingress),
    (_NET, "IngressClass"): network.update_ingress_class,
    ("storage.k8s.io", "StorageClass"): policies.update_storage_class,
    ("scheduling.k8s.io", "PriorityClass"): policies.update_priority_class,
    ("node.k8s.io", "RuntimeClass"): policies.update_runtime_class,
    _CRD: definitions.update_definition,
}
