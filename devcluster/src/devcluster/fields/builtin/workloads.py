"""Deployments, stateful sets, daemon sets, replica sets, jobs and cron jobs."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.claims import internal_templates
from devcluster.fields.builtin.core import check_claim_spec
from devcluster.fields.builtin.meta import check_selector
from devcluster.fields.builtin.pods import check_template
from devcluster.fields.schema import JsonObject

__all__ = [
    "cron_job",
    "daemon_set",
    "deployment",
    "job",
    "replica_set",
    "replication_controller",
    "stateful_set",
    "update_cron_job",
    "update_daemon_set",
    "update_deployment",
    "update_job",
    "update_replica_set",
    "update_replication_controller",
    "update_revision",
    "update_stateful_set",
]

_TEMPLATE = "spec.template"


def _matches(selector: JsonObject, labels: JsonObject) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key"), term.get("values") or []
        found = key in labels
        fits = {
            "In": found and labels.get(key) in values,
            "NotIn": not found or labels.get(key) not in values,
            "Exists": found,
            "DoesNotExist": not found,
        }
        if not fits.get(term.get("operator"), False):
            return False
    return True


def _check_workload(checker: Checker, spec: JsonObject, kind: str) -> None:
    """Selector and template, and that the one selects the other."""
    selector, usable = spec.get("selector"), True
    if selector is None:
        checker.required("spec.selector")
    else:
        known = len(checker.causes)
        check_selector(checker, selector, "spec.selector")
        usable = len(checker.causes) == known
        if not usable:
            checker.invalid("spec.selector", selector, "invalid label selector")
        if not selector:
            checker.invalid("spec.selector", {}, f"empty selector is invalid for {kind}")
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    if selector is None or (selector and usable and not _matches(selector, labels or {})):
        detail = "`selector` does not match template `labels`"
        checker.invalid(f"{_TEMPLATE}.metadata.labels", labels, detail)
    check_template(checker, template, _TEMPLATE)
    pod = template.get("spec") or {}
    policy = pod.get("restartPolicy")
    if policy and policy != "Always":
        checker.unsupported(f"{_TEMPLATE}.spec.restartPolicy", policy, ("Always",))
    if pod.get("activeDeadlineSeconds") is not None and kind in {"deployment", "replicaset"}:
        text = "activeDeadlineSeconds in ReplicaSet is not Supported"
        checker.forbidden(f"{_TEMPLATE}.spec.activeDeadlineSeconds", text)


def _counts(checker: Checker, spec: JsonObject, *fields: str) -> None:
    for field in fields:
        checker.not_negative(f"spec.{field}", spec.get(field))


# --- amounts that may be percentages -------------------------------------------------------------


def check_amount(checker: Checker, value: Any, path: str) -> None:
    """A count or a percentage, not negative."""
    if value is None:
        return
    if isinstance(value, int):
        checker.not_negative(path, value)
    elif not re.fullmatch(r"[0-9]+%", value):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',"
            "  or '93%', regex used for validation is '[0-9]+%')"
        )
        checker.invalid(path, value, detail)


def check_share(checker: Checker, value: Any, path: str) -> None:
    """A percentage, if it is one, of at most everything."""
    if isinstance(value, str) and value[:-1].isdigit() and int(value[:-1]) > 100:
        checker.invalid(path, value, "must not be greater than 100%")


def _zero(value: Any) -> bool:
    return value in (0, "0%", None)


# --- deployments and replica sets ----------------------------------------------------------------


def deployment(checker: Checker, obj: JsonObject) -> None:
    """A deployment, new or changed."""
    spec = obj["spec"]
    _counts(checker, spec, "replicas")
    _check_workload(checker, spec, "deployment")
    _check_strategy(checker, spec.get("strategy") or {})
    _counts(checker, spec, "minReadySeconds", "revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        _counts(checker, spec, "progressDeadlineSeconds")
        if deadline <= spec.get("minReadySeconds", 0):
            text = "must be greater than minReadySeconds"
            checker.invalid("spec.progressDeadlineSeconds", deadline, text)


def _check_strategy(checker: Checker, strategy: JsonObject) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            checker.forbidden("spec.strategy.rollingUpdate", text)
    elif kind == "RollingUpdate":
        path = "spec.strategy.rollingUpdate"
        rolling = rolling or {}
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        check_amount(checker, unavailable, f"{path}.maxUnavailable")
        check_amount(checker, surge, f"{path}.maxSurge")
        if _zero(unavailable) and _zero(surge):
            text = "may not be 0 when `maxSurge` is 0"
            checker.invalid(f"{path}.maxUnavailable", unavailable, text)
        check_share(checker, unavailable, f"{path}.maxUnavailable")
    else:
        shown = {"Type": kind or "", "RollingUpdate": rolling}
        checker.unsupported("spec.strategy", shown, ("Recreate", "RollingUpdate"))


def update_deployment(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its selector stays."""
    deployment(checker, new)
    checker.unchanged("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


def replica_set(checker: Checker, obj: JsonObject) -> None:
    """A replica set, new or changed."""
    _counts(checker, obj["spec"], "replicas", "minReadySeconds")
    _check_workload(checker, obj["spec"], "replicaset")


def update_replica_set(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its selector stays."""
    replica_set(checker, new)
    checker.unchanged("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


def replication_controller(checker: Checker, obj: JsonObject) -> None:
    """A replication controller, new or changed."""
    spec = obj["spec"]
    _counts(checker, spec, "minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        checker.required("spec.selector")
    _counts(checker, spec, "replicas")
    template = spec.get("template")
    if template is None:
        checker.required(_TEMPLATE)
        return
    labels = (template.get("metadata") or {}).get("labels")
    if not _matches({"matchLabels": selector}, labels or {}):
        text = "`selector` does not match template `labels`"
        checker.invalid(f"{_TEMPLATE}.metadata.labels", labels, text)
    check_template(checker, template, _TEMPLATE)


def update_replication_controller(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Nothing is immutable."""
    del old
    replication_controller(checker, new)


# --- stateful sets -------------------------------------------------------------------------------


def stateful_set(checker: Checker, obj: JsonObject) -> None:
    """A stateful set, new or changed."""
    spec = obj["spec"]
    policy = spec.get("podManagementPolicy", "")
    if policy not in {"OrderedReady", "Parallel"}:
        text = "must be 'OrderedReady' or 'Parallel'"
        checker.invalid("spec.podManagementPolicy", policy, text)
    _check_set_strategy(checker, spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        if retention.get(field) not in {"Retain", "Delete", None}:
            checker.unsupported(
                f"spec.persistentVolumeClaimRetentionPolicy.{field}",
                retention[field],
                ("Retain", "Delete"),
            )
    _counts(checker, spec, "replicas", "minReadySeconds")
    checker.not_negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    service = spec.get("serviceName")
    if service:
        checker.problems("spec.serviceName", service, names.dns_label(service))
    claims = spec.get("volumeClaimTemplates") or ()
    for at, claim in enumerate(claims):
        path = f"spec.volumeClaimTemplates[{at}].spec"
        check_claim_spec(checker, claim.get("spec") or {}, path)
    _check_workload(checker, _with_claims(spec, claims), "statefulset")


def _with_claims(spec: JsonObject, claims: Any) -> JsonObject:
    """The spec as its pods will have it: the claims are their first volumes."""
    if not claims:
        return spec
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    volumes = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in ((claim.get("metadata") or {}).get("name", "") for claim in claims)
    ]
    known = {volume["name"] for volume in volumes}
    volumes += [v for v in pod.get("volumes") or () if v.get("name") not in known]
    return {**spec, "template": {**template, "spec": {**pod, "volumes": volumes}}}


def _check_set_strategy(checker: Checker, strategy: JsonObject) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if kind == "OnDelete":
        if rolling is not None:
            shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": None}
            text = "only allowed for updateStrategy 'RollingUpdate'"
            checker.invalid(f"{path}.rollingUpdate", shown, text)
    elif kind == "RollingUpdate":
        checker.not_negative(f"{path}.rollingUpdate.partition", (rolling or {}).get("partition"))
    elif not kind:
        checker.required(path)
    else:
        shown = {"Type": kind, "RollingUpdate": rolling}
        checker.invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'")


_SET_FROZEN = ("podManagementPolicy", "selector", "serviceName", "volumeClaimTemplates")
_SET_MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)


def update_stateful_set(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Little may change."""
    stateful_set(checker, new)
    for field in _SET_FROZEN:
        left, right = new["spec"].get(field), old["spec"].get(field)
        if field == "volumeClaimTemplates" and left != right:
            left, right = internal_templates(left or []), None
        checker.unchanged(f"spec.{field}", left, right)
    known = _SET_MUTABLE.union(_SET_FROZEN)
    left = {key: value for key, value in new["spec"].items() if key not in known}
    right = {key: value for key, value in old["spec"].items() if key not in known}
    if left != right:
        checker.forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
            " 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and"
            " 'minReadySeconds' are forbidden",
        )


def update_revision(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """A controller's revision keeps its data."""
    checker.unchanged("data", new.get("data"), old.get("data"))


# --- daemon sets ---------------------------------------------------------------------------------


def daemon_set(checker: Checker, obj: JsonObject) -> None:
    """A daemon set, new or changed."""
    spec = obj["spec"]
    _check_workload(checker, spec, "daemonset")
    _counts(checker, spec, "minReadySeconds")
    strategy = spec.get("updateStrategy") or {}
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "RollingUpdate":
        rolling = rolling or {}
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        check_amount(checker, unavailable, f"{path}.maxUnavailable")
        check_amount(checker, surge, f"{path}.maxSurge")
        if not _zero(unavailable) and not _zero(surge):
            text = "may not be set when maxUnavailable is non-zero"
            checker.invalid(f"{path}.maxSurge", surge, text)
        elif _zero(unavailable) and _zero(surge):
            checker.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif kind != "OnDelete":
        shown = {"Type": kind or "", "RollingUpdate": rolling}
        checker.unsupported("spec.updateStrategy", shown, ("RollingUpdate", "OnDelete"))
    _counts(checker, spec, "revisionHistoryLimit")


def update_daemon_set(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its selector stays."""
    daemon_set(checker, new)
    checker.unchanged("spec.selector", new["spec"].get("selector"), old["spec"].get("selector"))


# --- jobs ----------------------------------------------------------------------------------------


def job(checker: Checker, obj: JsonObject) -> None:
    """A new job."""
    _check_job_spec(checker, obj["spec"], "spec")


def _check_job_spec(checker: Checker, spec: JsonObject, path: str) -> None:
    for field in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ):
        checker.not_negative(f"{path}.{field}", spec.get(field))
    mode = spec.get("completionMode")
    modes = ("NonIndexed", "Indexed")
    checker.choice(f"{path}.completionMode", mode, modes, needed=False)
    if mode == "Indexed" and spec.get("completions") is None:
        checker.required(f"{path}.completions", "when completion mode is Indexed")
    if spec.get("backoffLimitPerIndex") is not None and mode != "Indexed":
        text = "requires indexed completion mode"
        checker.invalid(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], text)
    replaced = spec.get("podReplacementPolicy")
    policies = ("Failed", "TerminatingOrFailed")
    checker.choice(f"{path}.podReplacementPolicy", replaced, policies, needed=False)
    template = spec.get("template") or {}
    if path == "spec":
        _check_job_selector(checker, spec, template)
    check_template(checker, template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        text = 'valid values: "OnFailure", "Never"'
        checker.required(f"{path}.template.spec.restartPolicy", text)
    elif policy not in {"OnFailure", "Never"}:
        choices = ("OnFailure", "Never")
        checker.unsupported(f"{path}.template.spec.restartPolicy", policy, choices)


def _check_job_selector(checker: Checker, spec: JsonObject, template: JsonObject) -> None:
    """A selector that was given by hand, or generated, matches the template."""
    selector = spec.get("selector")
    if selector is None and spec.get("manualSelector"):
        checker.required("spec.selector")
    elif selector is None:
        return
    labels = (template.get("metadata") or {}).get("labels")
    if not selector or not _matches(selector, labels or {}):
        text = "`selector` does not match template `labels`"
        checker.invalid("spec.template.metadata.labels", labels, text)


def update_job(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Template, selector and completions stay; a suspended job's template may be scheduled anew."""
    _check_job_spec(checker, new["spec"], "spec")
    left, right = new["spec"], old["spec"]
    for field in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"):
        checker.unchanged(f"spec.{field}", left.get(field), right.get(field))
    if left.get("completionMode") != "Indexed":
        checker.unchanged("spec.completions", left.get("completions"), right.get("completions"))
    ours, theirs = left.get("template") or {}, right.get("template") or {}
    if right.get("suspend"):
        ours, theirs = _unscheduled(ours), _unscheduled(theirs)
    if ours != theirs:
        # A suspended job's template is compared in the part that may not change.
        inner = ".spec" if right.get("suspend") else ""
        template = left.get("template") or {}
        shown = template.get("spec") if inner else template
        checker.invalid(f"spec.template{inner}", shown, "field is immutable")


def _unscheduled(template: JsonObject) -> JsonObject:
    free = {"nodeSelector", "tolerations", "affinity", "schedulingGates"}
    spec = {key: value for key, value in (template.get("spec") or {}).items() if key not in free}
    return {"spec": spec}


_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def cron_job(checker: Checker, obj: JsonObject) -> None:
    """A new cron job."""
    name = obj["metadata"].get("name", "")
    if len(name) > 52:
        checker.invalid("metadata.name", name, "must be no more than 52 characters")
    spec = obj["spec"]
    _check_schedule(checker, spec)
    _counts(checker, spec, "startingDeadlineSeconds")
    policy = spec.get("concurrencyPolicy")
    checker.choice("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"))
    _counts(checker, spec, "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    _check_job_spec(
        checker, (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
    )


def update_cron_job(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Nothing is immutable."""
    del old
    cron_job(checker, new)


def _check_schedule(checker: Checker, spec: JsonObject) -> None:
    schedule = spec.get("schedule", "")
    if not schedule:
        checker.required("spec.schedule")
    elif "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        checker.invalid("spec.schedule", schedule, text)
    else:
        problem = _cron_problem(schedule)
        if problem:
            checker.invalid("spec.schedule", schedule, problem)
    zone = spec.get("timeZone")
    if zone == "":
        checker.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone is not None:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            checker.invalid("spec.timeZone", zone, f"unknown time zone {zone}")


def _cron_problem(schedule: str) -> str:
    if schedule.startswith("@"):
        return ""
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, (low, high) in zip(fields, _CRON_FIELDS, strict=True):
        for part in text.split(","):
            for number in re.findall(r"\d+", part.split("/")[0]):
                if int(number) > high:
                    return f"end of range ({number}) above maximum ({high}): {part}"
                if int(number) < low:
                    return f"beginning of range ({number}) below minimum ({low}): {part}"
    return ""
