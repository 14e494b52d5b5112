"""Defaults of the built-in kinds, one function per type.

A type's function sees its own struct only and runs wherever the type occurs, so a Deployment's pod
template, a Job's and a CronJob's are one table. Kinds whose defaults look at the whole object are
in ``_KINDS``. All of them write into the object that they get.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from typing import Any

from devcluster.fields.schema import JsonObject, Node, TypeSchema

__all__ = ["fill"]

_V1 = "io.k8s.api.core.v1."
_APPS = "io.k8s.api.apps.v1."
_NET = "io.k8s.api.networking.v1."
_ADMISSION = "io.k8s.api.admissionregistration.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."
_RBAC = "rbac.authorization.k8s.io"

Default = Callable[[JsonObject], None]


def fill(obj: JsonObject, schema: TypeSchema) -> None:
    """Set the defaults of a built-in object in place; it must be a private copy."""
    _walk(obj, schema.root)
    for default in _KINDS.get((schema.group, schema.kind), ()):
        default(obj)
    if schema.kind == "HorizontalPodAutoscaler" and schema.version == "v2":
        _hpa_metrics(obj)


def _walk(value: Any, node: Node) -> None:
    below = _paths(node)
    if isinstance(value, dict):
        if node.form == "struct":
            default = _TYPES.get(node.type)
            if default is not None:
                default(value)
            for key in below:
                item = value.get(key)
                if item is not None:
                    _walk(item, node.fields[key])
        elif below and node.element is not None:
            for item in value.values():
                _walk(item, node.element)
    elif isinstance(value, list) and below and node.items is not None:
        for item in value:
            _walk(item, node.items)


@functools.lru_cache(maxsize=4096)
def _paths(node: Node) -> tuple[str, ...]:
    """Fields (or a mark for elements) of a node below which some type has defaults."""
    if node.form == "struct":
        return tuple(key for key, child in node.fields.items() if _has_defaults(child))
    child = node.items or node.element
    return ("*",) if child is not None and child is not node and _has_defaults(child) else ()


@functools.lru_cache(maxsize=4096)
def _has_defaults(node: Node) -> bool:
    if node.type in _NO_DEFAULTS_BELOW:
        return False
    return node.type in _TYPES or bool(_paths(node))


# Types that contain themselves.
_NO_DEFAULTS_BELOW = frozenset({_CRD + "JSONSchemaProps"})


def _setter(**values: Any) -> Default:
    """Fields that are absent take these values."""

    def default(obj: JsonObject) -> None:
        for key, value in values.items():
            if obj.get(key) is None:
                obj[key] = value.copy() if isinstance(value, dict | list) else value

    return default


# --- pods ----------------------------------------------------------------------------------------

_TAG = re.compile(r":([\w][\w.-]{0,127})$")


def _image_policy(image: str) -> str:
    """Always for what moves: the tag ``latest``, given or implied."""
    if "@" in image:
        image = image.split("@", 1)[0]
        match = _TAG.search(image.rsplit("/", 1)[-1])
        return "Always" if match and match.group(1) == "latest" else "IfNotPresent"
    match = _TAG.search(image.rsplit("/", 1)[-1])
    return "Always" if match is None or match.group(1) == "latest" else "IfNotPresent"


def _container(obj: JsonObject) -> None:
    if not obj.get("imagePullPolicy"):
        obj["imagePullPolicy"] = _image_policy(obj.get("image", ""))
    obj.setdefault("terminationMessagePath", "/dev/termination-log")
    obj.setdefault("terminationMessagePolicy", "File")


def _pod_spec(obj: JsonObject) -> None:
    account = obj.get("serviceAccountName") or obj.get("serviceAccount")
    if account:
        obj["serviceAccountName"] = obj["serviceAccount"] = account
    obj.setdefault("dnsPolicy", "ClusterFirst")
    obj.setdefault("restartPolicy", "Always")
    obj.setdefault("securityContext", {})
    obj.setdefault("terminationGracePeriodSeconds", 30)
    obj.setdefault("schedulerName", "default-scheduler")


def _volume(obj: JsonObject) -> None:
    if obj.keys() <= {"name"}:
        obj["emptyDir"] = {}
    image = obj.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = _image_policy(image.get("reference", ""))


def _pod(obj: JsonObject) -> None:
    spec = obj["spec"]
    spec.setdefault("enableServiceLinks", True)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for container in (spec.get("containers") or []) + spec.get("initContainers", []):
        resources = container.get("resources") or {}
        if "limits" in resources:
            requests = resources.setdefault("requests", {})
            for name, amount in resources["limits"].items():
                requests.setdefault(name, amount)
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port.get("containerPort", 0))


# --- workloads -----------------------------------------------------------------------------------


def _deployment(obj: JsonObject) -> None:
    obj.setdefault("replicas", 1)
    strategy = obj.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    obj.setdefault("revisionHistoryLimit", 10)
    obj.setdefault("progressDeadlineSeconds", 600)


def _daemon_set(obj: JsonObject) -> None:
    strategy = obj.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    obj.setdefault("revisionHistoryLimit", 10)


def _stateful_set(obj: JsonObject) -> None:
    obj.setdefault("podManagementPolicy", "OrderedReady")
    strategy = obj.setdefault("updateStrategy", {})
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
        strategy["rollingUpdate"].setdefault("maxUnavailable", 1)
    retention = obj.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    obj.setdefault("replicas", 1)
    obj.setdefault("revisionHistoryLimit", 10)


def _stateful_set_claims(obj: JsonObject) -> None:
    for claim in obj["spec"].get("volumeClaimTemplates", ()):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim["status"].setdefault("phase", "Pending")


def _node(obj: JsonObject) -> None:
    spec = obj.get("spec") or {}
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]


def _condition_pattern(obj: JsonObject) -> None:
    obj["status"] = obj.get("status") or "True"


def _job(obj: JsonObject) -> None:
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2147483647 if "backoffLimitPerIndex" in spec else 6)
    labels = spec["template"]["metadata"].get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = labels  # the same ones, as a Job that is new also shows
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    replaced = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replaced)
    spec.setdefault("manualSelector", False)


def _replication_controller(obj: JsonObject) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    labels = (spec.get("template") or {}).get("metadata", {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)


# --- core ----------------------------------------------------------------------------------------


def _service(obj: JsonObject) -> None:
    affinity = obj.setdefault("sessionAffinity", "None")
    if affinity == "None":
        obj.pop("sessionAffinityConfig", None)
    if affinity == "ClientIP":
        config = obj.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    kind = obj.setdefault("type", "ClusterIP")
    for port in obj.get("ports", ()):
        if port.get("targetPort", 0) in (0, ""):
            port["targetPort"] = port.get("port", 0)
    external = kind in {"LoadBalancer", "NodePort"} or (
        kind == "ClusterIP" and obj.get("externalIPs")
    )
    if external:
        obj.setdefault("externalTrafficPolicy", "Cluster")
    if kind in {"NodePort", "LoadBalancer", "ClusterIP"}:
        obj.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        obj.setdefault("allocateLoadBalancerNodePorts", True)


def _service_status(obj: JsonObject) -> None:
    if obj["spec"].get("type") == "LoadBalancer":
        for entry in obj["status"].get("loadBalancer", {}).get("ingress", ()):
            if entry.get("ip"):
                entry.setdefault("ipMode", "VIP")


def _namespace(obj: JsonObject) -> None:
    meta = obj["metadata"]
    if meta.get("name"):
        meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
    obj["status"].setdefault("phase", "Active")


def _secret(obj: JsonObject) -> None:
    if obj.get("stringData"):
        # Written as data; the server never gives stringData back.

        data = obj.setdefault("data", {})
        for key, text in obj["stringData"].items():
            data[key] = base64.b64encode(text.encode()).decode()
    obj.pop("stringData", None)
    obj.setdefault("type", "Opaque")


def _limit_range_item(obj: JsonObject) -> None:
    if obj.get("type") != "Container":
        return
    default = dict(obj.get("default", {}))
    for name, amount in obj.get("max", {}).items():
        default.setdefault(name, amount)
    request = dict(obj.get("defaultRequest", {}))
    for source in (default, obj.get("min", {})):
        for name, amount in source.items():
            request.setdefault(name, amount)
    if default:
        obj["default"] = default
    if request:
        obj["defaultRequest"] = request


def _volume_status(obj: JsonObject) -> None:
    obj["status"].setdefault("phase", "Pending")


def _node_status(obj: JsonObject) -> None:
    if "capacity" in obj:
        obj.setdefault("allocatable", dict(obj["capacity"]))


# --- the rest ------------------------------------------------------------------------------------


def _network_policy(obj: JsonObject) -> None:
    if not obj.get("policyTypes"):
        obj["policyTypes"] = ["Ingress", "Egress"] if obj.get("egress") else ["Ingress"]


def _subject(obj: JsonObject) -> None:
    if obj.get("kind") in {"User", "Group"}:
        obj.setdefault("apiGroup", _RBAC)


def _role_ref(obj: JsonObject) -> None:
    if not obj.get("apiGroup"):
        obj["apiGroup"] = _RBAC


def _hpa(obj: JsonObject) -> None:
    obj["spec"].setdefault("minReplicas", 1)


_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _hpa_metrics(obj: JsonObject) -> None:
    spec = obj["spec"]
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = {**_SCALE_UP, **(behavior.get("scaleUp") or {})}
        behavior["scaleDown"] = {**_SCALE_DOWN, **(behavior.get("scaleDown") or {})}


def _webhook(obj: JsonObject) -> None:
    obj.setdefault("failurePolicy", "Fail")
    obj.setdefault("matchPolicy", "Equivalent")
    obj.setdefault("namespaceSelector", {})
    obj.setdefault("objectSelector", {})
    obj.setdefault("timeoutSeconds", 10)


def _mutating_webhook(obj: JsonObject) -> None:
    _webhook(obj)
    obj.setdefault("reinvocationPolicy", "Never")


def _definition(obj: JsonObject) -> None:
    spec = obj["spec"]
    names = spec.get("names") or {}
    if not names.get("singular") and names.get("kind"):
        names["singular"] = names["kind"].lower()
    if not names.get("listKind") and names.get("kind"):
        names["listKind"] = names["kind"] + "List"
    spec.setdefault("conversion", {"strategy": "None"})
    if not obj["status"].get("storedVersions"):
        stored = [v["name"] for v in spec.get("versions") or () if v.get("storage")]
        if stored:
            obj["status"]["storedVersions"] = stored[:1]


_TYPES: dict[str, Default] = {
    _V1 + "Container": _container,
    _V1 + "EphemeralContainer": _container,
    _V1 + "ContainerPort": _setter(protocol="TCP"),
    _V1 + "PodSpec": _pod_spec,
    _V1 + "Volume": _volume,
    _V1 + "Probe": _setter(
        timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3
    ),
    _V1 + "HTTPGetAction": _setter(path="/", scheme="HTTP"),
    _V1 + "GRPCAction": _setter(service=""),
    _V1 + "SecretVolumeSource": _setter(defaultMode=420),
    _V1 + "ConfigMapVolumeSource": _setter(defaultMode=420),
    _V1 + "DownwardAPIVolumeSource": _setter(defaultMode=420),
    _V1 + "ProjectedVolumeSource": _setter(defaultMode=420),
    _V1 + "ServiceAccountTokenProjection": _setter(expirationSeconds=3600),
    _V1 + "ObjectFieldSelector": _setter(apiVersion="v1"),
    _V1 + "HostPathVolumeSource": _setter(type=""),
    _V1 + "ISCSIVolumeSource": _setter(iscsiInterface="default"),
    _V1 + "ISCSIPersistentVolumeSource": _setter(iscsiInterface="default"),
    _V1 + "RBDVolumeSource": _setter(pool="rbd", user="admin", keyring="/etc/ceph/keyring"),
    _V1 + "RBDPersistentVolumeSource": _setter(
        pool="rbd", user="admin", keyring="/etc/ceph/keyring"
    ),
    _V1 + "ScaleIOVolumeSource": _setter(storageMode="ThinProvisioned", fsType="xfs"),
    _V1 + "ScaleIOPersistentVolumeSource": _setter(storageMode="ThinProvisioned", fsType="xfs"),
    _V1 + "AzureDiskVolumeSource": _setter(
        cachingMode="ReadWrite", kind="Shared", fsType="ext4", readOnly=False
    ),
    _V1 + "PersistentVolumeClaimSpec": _setter(volumeMode="Filesystem"),
    _V1 + "PersistentVolumeSpec": _setter(
        persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem"
    ),
    _V1 + "ServiceSpec": _service,
    _V1 + "ServicePort": _setter(protocol="TCP"),
    _V1 + "EndpointPort": _setter(protocol="TCP"),
    _V1 + "LimitRangeItem": _limit_range_item,
    _V1 + "NodeStatus": _node_status,
    _APPS + "DeploymentSpec": _deployment,
    _APPS + "DaemonSetSpec": _daemon_set,
    _APPS + "StatefulSetSpec": _stateful_set,
    _APPS + "ReplicaSetSpec": _setter(replicas=1),
    "io.k8s.api.batch.v1.CronJobSpec": _setter(
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    ),
    "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern": _condition_pattern,
    _NET + "NetworkPolicyPort": _setter(protocol="TCP"),
    _NET + "NetworkPolicySpec": _network_policy,
    _NET + "IngressClassParametersReference": _setter(scope="Cluster"),
    "io.k8s.api.rbac.v1.Subject": _subject,
    "io.k8s.api.rbac.v1.RoleRef": _role_ref,
    "io.k8s.api.discovery.v1.EndpointPort": _setter(name="", protocol="TCP"),
    "io.k8s.api.scheduling.v1.PriorityClass": _setter(preemptionPolicy="PreemptLowerPriority"),
    "io.k8s.api.storage.v1.StorageClass": _setter(
        reclaimPolicy="Delete", volumeBindingMode="Immediate"
    ),
    "io.k8s.api.storage.v1.CSIDriverSpec": _setter(
        attachRequired=True,
        podInfoOnMount=False,
        storageCapacity=False,
        fsGroupPolicy="ReadWriteOnceWithFSType",
        volumeLifecycleModes=["Persistent"],
        requiresRepublish=False,
        seLinuxMount=False,
    ),
    _ADMISSION + "ValidatingWebhook": _webhook,
    _ADMISSION + "MutatingWebhook": _mutating_webhook,
    _ADMISSION + "RuleWithOperations": _setter(scope="*"),
    _ADMISSION + "NamedRuleWithOperations": _setter(scope="*"),
    _ADMISSION + "ValidatingAdmissionPolicySpec": _setter(failurePolicy="Fail"),
    _ADMISSION + "MutatingAdmissionPolicySpec": _setter(failurePolicy="Fail"),
    _ADMISSION + "MatchResources": _setter(
        matchPolicy="Equivalent", namespaceSelector={}, objectSelector={}
    ),
    _ADMISSION + "ServiceReference": _setter(port=443),
    _CRD + "ServiceReference": _setter(port=443),
    _AGGREGATOR + "ServiceReference": _setter(port=443),
}

_KINDS: dict[tuple[str, str], tuple[Default, ...]] = {
    ("", "Pod"): (_pod,),
    ("", "Service"): (_service_status,),
    ("", "Namespace"): (_namespace,),
    ("", "Secret"): (_secret,),
    ("", "Node"): (_node,),
    ("", "PersistentVolume"): (_volume_status,),
    ("", "PersistentVolumeClaim"): (_volume_status,),
    ("", "ReplicationController"): (_replication_controller,),
    ("apps", "StatefulSet"): (_stateful_set_claims,),
    ("batch", "Job"): (_job,),
    ("autoscaling", "HorizontalPodAutoscaler"): (_hpa,),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (_definition,),
}
