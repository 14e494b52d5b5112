"""The RBAC authoriser: roles and bindings, indexed by subject and kept current by the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster import errors
from devcluster.auth.rules import Attributes, Rule, parse_rules
from devcluster.identity import User
from devcluster.store import Change, Row, Store, Table

__all__ = ["Decision", "Rbac", "denied"]

_GROUP = "rbac.authorization.k8s.io"
_MASTERS = "system:masters"
_CACHE = 20_000
Subject = tuple[str, str]  # ("User" or "Group", name)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and the reason as access reviews show it."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Binding:
    namespace: str
    name: str
    role_kind: str
    role_name: str
    subjects: tuple[Subject, ...]
    shown: Mapping[Subject, str]


class Rbac:
    """Answers whether a user may do something.

    Args:
        store: watched for roles and bindings; decisions are cached until one of them changes.

    """

    def __init__(self, store: Store) -> None:
        self._roles: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._bindings: dict[tuple[str, str], _Binding] = {}
        self._by_subject: dict[Subject, dict[tuple[str, str], _Binding]] = {}
        self._decisions: dict[Any, Decision] = {}
        store.listen(self._changed)

    # --- keeping current ----------------------------------------------------------------------

    def _changed(self, table: Table, change: Change) -> None:
        if table.name[0] != _GROUP:
            return
        self._decisions.clear()
        row = change.row
        key = (row.namespace, row.name)
        gone = change.type == "DELETED"
        if table.name[1] in {"roles", "clusterroles"}:
            if gone:
                self._roles.pop(key, None)
            else:
                self._roles[key] = parse_rules(row.decode().get("rules"))
            return
        self._drop(key)
        if not gone:
            self._add(key, row)

    def _drop(self, key: tuple[str, str]) -> None:
        old = self._bindings.pop(key, None)
        if old is not None:
            for subject in old.subjects:
                self._by_subject[subject].pop(key, None)

    def _add(self, key: tuple[str, str], row: Row) -> None:
        obj = row.decode()
        shown: dict[Subject, str] = {}
        for subject in obj.get("subjects") or ():
            found, text = _subject(subject, row.namespace)
            shown[found] = text
        reference = obj["roleRef"]
        binding = _Binding(
            row.namespace, row.name, reference["kind"], reference["name"], tuple(shown), shown
        )
        self._bindings[key] = binding
        for subject in shown:
            self._by_subject.setdefault(subject, {})[key] = binding

    # --- asking -------------------------------------------------------------------------------

    def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether ``user`` may do what is ``asked``."""
        if _MASTERS in user.groups:
            return Decision(True)
        key = (user.name, user.groups, asked)
        found = self._decisions.get(key)
        if found is None:
            found = self._evaluate(user, asked)
            if len(self._decisions) > _CACHE:
                self._decisions.clear()
            self._decisions[key] = found
        return found

    def _evaluate(self, user: User, asked: Attributes) -> Decision:
        lost: list[str] = []
        for subject, binding in self._relevant(user, asked.namespace):
            rules = self._rules_of(binding)
            if rules is None:
                lost.append(_lost(binding))
                continue
            if any(rule.allows(asked) for rule in rules):
                return Decision(True, _granted(binding, subject))
        if not lost:
            return Decision(False)
        text = lost[0] if len(lost) == 1 else f"[{', '.join(lost)}]"
        return Decision(False, f"rbac: RBAC: {text}")

    def _relevant(self, user: User, namespace: str) -> Iterator[tuple[Subject, _Binding]]:
        """Cluster-wide bindings first, then those of the namespace."""
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        for wanted in ("", namespace) if namespace else ("",):
            for subject in subjects:
                for (where, _), binding in self._by_subject.get(subject, {}).items():
                    if where == wanted:
                        yield subject, binding

    def _rules_of(self, binding: _Binding) -> tuple[Rule, ...] | None:
        namespace = binding.namespace if binding.role_kind == "Role" else ""
        return self._roles.get((namespace, binding.role_name))

    def role(self, kind: str, name: str, namespace: str) -> tuple[Rule, ...] | None:
        """The rules of a role; None when there is none."""
        return self._roles.get((namespace if kind == "Role" else "", name))

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """All rules that hold for the user there, and what could not be resolved."""
        found: list[Rule] = []
        lost: list[str] = []
        for _, binding in self._relevant(user, namespace):
            rules = self._rules_of(binding)
            if rules is None:
                lost.append(_lost(binding))
            else:
                found += rules
        return found, lost


def _subject(subject: Mapping[str, Any], namespace: str) -> tuple[Subject, str]:
    name = subject["name"]
    if subject["kind"] == "ServiceAccount":
        where = subject.get("namespace") or namespace
        return ("User", f"system:serviceaccount:{where}:{name}"), f'ServiceAccount "{name}/{where}"'
    return (subject["kind"], name), f'{subject["kind"]} "{name}"'


def _granted(binding: _Binding, subject: Subject) -> str:
    where = f"{binding.name}/{binding.namespace}" if binding.namespace else binding.name
    kind = "RoleBinding" if binding.namespace else "ClusterRoleBinding"
    return (
        f'RBAC: allowed by {kind} "{where}" of {binding.role_kind} "{binding.role_name}"'
        f" to {binding.shown[subject]}"
    )


def _lost(binding: _Binding) -> str:
    return f'{binding.role_kind.lower()}.{_GROUP} "{binding.role_name}" not found'


def denied(user: User, asked: Attributes, reason: str) -> errors.ApiFailure:
    """The 403 of an authoriser."""
    if asked.path:
        text = f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
        text = f"forbidden: {text}" + (f": {reason}" if reason else "")
        return errors.ApiFailure(403, "Forbidden", text, details={})
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = (
        f'User "{user.name}" cannot {asked.verb} resource "{resource}" in API group'
        f' "{asked.group}" {where}'
    )
    if reason:
        text += f": {reason}"
    return errors.forbidden(group=asked.group, plural=asked.resource, name=asked.name, why=text)
