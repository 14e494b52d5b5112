"""Wrong answers that the suite must see: named faults, each switched on in devcluster from here.

devcluster has no switches for them: a fault replaces one of its functions for as long as a ``with``
lasts, so a cluster has to be started within. Each names the topics in which a scenario has to catch
it; one that is caught by accident, somewhere else, is not caught.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from devcluster import locks, reading, strategies, writes
from devcluster.auth import rbac
from devcluster.auth.authenticate import Authenticator
from devcluster.auth.escalation import EscalationCheck
from devcluster.controllers.namespaces import Namespaces
from devcluster.deletes import Deleter
from devcluster.gate import Gate
from devcluster.selectors import LabelSelector
from devcluster.store import Table
from devcluster.watching import Watch

__all__ = ["FAULTS", "Fault"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong behaviour.

    Attributes:
        about: what devcluster does while it is on.
        topics: where the scenarios that must catch it are.
        sign: words that the report of the difference must have.
        on: a context in which clusters have it.

    """

    about: str
    topics: tuple[str, ...]
    sign: str
    on: Callable[[], AbstractContextManager[object]]


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> AbstractContextManager[object]:
    """Replace a function of a class or module by what ``make`` makes of the original."""
    found = vars(owner)[name]
    if isinstance(found, staticmethod):
        return mock.patch.object(owner, name, staticmethod(make(found.__func__)))
    return mock.patch.object(owner, name, make(found))


def _one(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: _instead(owner, name, make)


# --- server-side apply and ownership -------------------------------------------------------------


@contextmanager
def _no_op_writes() -> Iterator[None]:
    def apply(original: Any) -> Any:
        def call(self: Gate, kind: Any, live: Any, applied: Any, **how: Any) -> Any:
            made = original(self, kind, live, applied, **how)
            return dict(live) if made is live and live is not None else made

        return call

    with ExitStack() as stack:
        stack.enter_context(_instead(Gate, "apply", apply))
        stack.enter_context(_instead(writes, "_same", lambda _: lambda _new, _old: False))
        yield


def _always_forced(original: Any) -> Any:
    def apply(self: Gate, kind: Any, live: Any, applied: Any, *, by: Any, force: bool) -> Any:
        del force
        return original(self, kind, live, applied, by=by, force=True)

    return apply


def _keeping_owners(original: Any) -> Any:
    def apply(self: Gate, kind: Any, live: Any, applied: Any, *, by: Any, force: bool) -> Any:
        made = original(self, kind, live, applied, by=by, force=force)
        if not force or live is None or made is live:
            return made
        others = [e for e in live["metadata"]["managedFields"] if e["manager"] != by.manager]
        mine = [e for e in made["metadata"]["managedFields"] if e["manager"] == by.manager]
        return {**made, "metadata": {**made["metadata"], "managedFields": others + mine}}

    return apply


def _nothing_removed(original: Any) -> Any:
    def apply(self: Gate, kind: Any, live: Any, applied: Any, **how: Any) -> Any:
        made = original(self, kind, live, applied, **how)
        if live is None or made is live or not isinstance(live.get("data"), dict):
            return made
        return {**made, "data": {**live["data"], **(made.get("data") or {})}}

    return apply


# --- what a write may touch ----------------------------------------------------------------------


def _status_through_main(original: Any) -> Any:
    def merge_for(kind: Any, new: Json, old: Json, subresource: str) -> Json:
        made: Json = original(kind, new, old, subresource)
        return {**made, "status": new["status"]} if not subresource and "status" in new else made

    return merge_for


def _generation_stays(_: Any) -> Any:
    return lambda _kind, _new, old, _subresource: old["metadata"].get("generation")


def _generation_always_grows(original: Any) -> Any:
    def next_generation(kind: Any, new: Json, old: Json, subresource: str) -> int | None:
        before = old["metadata"].get("generation")
        return None if original(kind, new, old, subresource) is None else before + 1

    return next_generation


@contextmanager
def _dry_run_persists() -> Iterator[None]:
    def wet(original: Any) -> Any:
        def store(self: Any, *given: Any, **named: Any) -> Any:
            for option in (*given, *named.values()):
                if isinstance(option, writes.WriteOptions):
                    option.dry_run = False
            return original(self, *given, **named)

        return store

    with ExitStack() as stack:
        for name in ("_insert", "_store_changed"):
            stack.enter_context(_instead(writes.Writer, name, wet))
        yield


def _lenient(original: Any) -> Any:
    def check(self: Gate, kind: Any, obj: Json, *, mode: str, **rest: Any) -> Any:
        return original(self, kind, obj, mode="Ignore" if mode == "Strict" else mode, **rest)

    return check


def _without_defaults(original: Any) -> Any:
    def default(self: Gate, kind: Any, obj: Json) -> Json:
        skipped = kind.crd or kind.group == "apps"  # a cluster cannot start without those of core
        made: Json = copy.deepcopy(obj) if skipped else original(self, kind, obj)
        return made

    return default


def _changes_unchecked(original: Any) -> Any:
    def validate(self: Gate, kind: Any, new: Json, old: Json | None) -> Any:
        return original(self, kind, new, old) if old is None else []

    return validate


# --- reading and watching ------------------------------------------------------------------------


def _without_deleted(original: Any) -> Any:
    def seen_as(self: Watch, change: Any) -> Any:
        kind = original(self, change)
        return None if kind == "DELETED" else kind

    return seen_as


def _one_too_late(original: Any) -> Any:
    def position_after(self: Table, revision: int) -> Any:
        return min(original(self, revision) + 1, self.end)

    return position_after


def _skipping_one(original: Any) -> Any:
    def rows(self: Any, table: Any, *, namespace: str, start: str, revision: int) -> Iterator[Any]:
        found = original(self, table, namespace=namespace, start=start, revision=revision)
        if start.endswith("\0"):
            next(found, None)
        return iter(list(found))

    return rows


# --- deletion and rights -------------------------------------------------------------------------


def _without_finalizer(name: str) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def finalizers(target: Any, obj: Json, options: Any) -> list[str]:
            return [f for f in original(target, obj, options) if f != name]

        return finalizers

    return make


def _unnamed_rules(original: Any) -> Any:
    def parse_rules(rules: Any) -> Any:
        return original([{k: v for k, v in r.items() if k != "resourceNames"} for r in rules or ()])

    return parse_rules


FAULTS: dict[str, Fault] = {
    "no-op apply writes": Fault(
        "an apply that changes nothing gets a new resourceVersion",
        ("apply", "apply-owners"),
        "metadata.resourceVersion",
        _no_op_writes,
    ),
    "conflicts not reported": Fault(
        "every apply is forced",
        ("apply", "apply-owners"),
        "Apply failed with",
        _one(Gate, "apply", _always_forced),
    ),
    "force keeps owners": Fault(
        "a forced apply leaves the fields in the entries of those who had them",
        ("apply", "apply-owners"),
        "managedFields",
        _one(Gate, "apply", _keeping_owners),
    ),
    "released fields stay": Fault(
        "what an applier no longer sends stays in the object",
        ("apply", "apply-owners"),
        "body.data",
        _one(Gate, "apply", _nothing_removed),
    ),
    "status through main": Fault(
        "the main resource writes the status, too",
        ("crds", "apply"),
        "body.status",
        _one(strategies, "merge_for", _status_through_main),
    ),
    "generation stays": Fault(
        "a changed spec does not raise the generation",
        ("crds", "workloads"),
        "metadata.generation",
        _one(strategies, "next_generation", _generation_stays),
    ),
    "generation counts metadata": Fault(
        "a label raises the generation",
        ("crds", "workloads"),
        "generation",
        _one(strategies, "next_generation", _generation_always_grows),
    ),
    "dry run persists": Fault(
        "a dry run is stored",
        ("apply", "patch"),
        "metadata.resourceVersion",
        _dry_run_persists,
    ),
    "strict is lenient": Fault(
        "unknown fields are dropped without a word where they should be refused",
        ("validation", "strict-fields"),
        "strict decoding error",
        _one(Gate, "check", _lenient),
    ),
    "defaulting skipped": Fault(
        "fields that a request leaves out stay absent",
        ("crds", "defaults", "workloads"),
        "body.spec",
        _one(Gate, "default", _without_defaults),
    ),
    "everything may change": Fault(
        "immutable fields and transition rules are not looked at",
        ("crud", "immutable"),
        "immutable",
        _one(Gate, "validate", _changes_unchecked),
    ),
    "stale writes accepted": Fault(
        "a write that names an old resourceVersion overwrites what came since",
        ("crud", "patch"),
        "the object has been modified",
        _one(locks, "check_version", lambda _: lambda _target, _new, _old: None),
    ),
    "list ignores labels": Fault(
        "a label selector selects everything",
        ("lists",),
        "items",
        _one(LabelSelector, "matches", lambda _: lambda _self, _labels: True),
    ),
    "continue skips one": Fault(
        "the second page begins one object too late",
        ("lists", "paging"),
        "items",
        _one(reading.Reader, "_rows", _skipping_one),
    ),
    "watch drops DELETED": Fault(
        "a watch says nothing of deletions",
        ("watch",),
        "too few events",
        _one(Watch, "_seen_as", _without_deleted),
    ),
    "watch repeats events": Fault(
        "every event is sent twice",
        ("watch",),
        "events[1]",
        _one(Watch, "_encode", lambda make: lambda self, change: make(self, change) * 2),
    ),
    "watch resumes with a gap": Fault(
        "a watch from a resourceVersion misses the first event after it",
        ("watch",),
        "too few events",
        _one(Table, "position_after", _one_too_late),
    ),
    "preconditions ignored": Fault(
        "a delete does not look at the uid and resourceVersion that it names",
        ("delete",),
        "not found",
        _one(Deleter, "_check", lambda _: lambda _target, _row, _options: None),
    ),
    "finalizers ignored": Fault(
        "a delete removes an object that finalizers hold",
        ("delete",),
        "not found",
        _one(Deleter, "_finalizers", lambda _: lambda _target, _obj, _options: []),
    ),
    "foreground is background": Fault(
        "an owner goes at once, before the dependents that block it",
        ("delete",),
        "foregroundDeletion",
        _one(Deleter, "_finalizers", _without_finalizer("foregroundDeletion")),
    ),
    "orphans are collected": Fault(
        "dependents that should be left behind are deleted",
        ("delete",),
        "orphan",
        _one(Deleter, "_finalizers", _without_finalizer("orphan")),
    ),
    "namespace leaves objects": Fault(
        "a namespace goes and leaves its content where it was",
        ("namespaces",),
        "object gone",
        _one(Namespaces, "_delete_content", lambda _: lambda _self, _name: {}),
    ),
    "impersonation unchecked": Fault(
        "anybody may act as anybody",
        ("rbac", "identity"),
        "cannot impersonate",
        _one(Authenticator, "_require", lambda _: lambda _self, _user, _asked: None),
    ),
    "resourceNames ignored": Fault(
        "a right on one object is a right on all of the kind",
        ("rbac",),
        "is forbidden",
        _one(rbac, "parse_rules", _unnamed_rules),
    ),
    "escalation unchecked": Fault(
        "anybody may grant what they do not hold",
        ("rbac",),
        "not currently held",
        _one(EscalationCheck, "__call__", lambda _: lambda *_given: None),
    ),
}
"""By name, which is a test's id."""
