"""Aggregated cluster roles: their rules are those of the roles that their selectors find."""

from __future__ import annotations

from typing import Any

from devcluster.engine import Engine
from devcluster.selectors import parse_selector
from devcluster.store import Change, Table

__all__ = ["Roles"]

JsonObject = dict[str, Any]
_MANAGER = "clusterrole-aggregation-controller"


class Roles:
    """The aggregation controller; a key is the name of an aggregated role."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kind = engine.kind("rbac.authorization.k8s.io", "ClusterRole")
        self._table = engine.store.table(self._kind.table)
        self._aggregated: set[str] = set()

    def keys(self, table: Table, change: Change) -> list[str]:
        """The aggregated roles that a change may concern: all of them, if it is of a role."""
        if table is not self._table:
            return []
        row = change.row
        if change.type != "DELETED" and b'"aggregationRule":{' in row.body:
            self._aggregated.add(row.name)
        else:
            self._aggregated.discard(row.name)
        before = change.previous
        if not row.labels and (before is None or not before.labels):
            return [row.name] if row.name in self._aggregated else []
        return sorted(self._aggregated)

    def handle(self, name: str) -> float | None:
        """Write the union of the rules if it is not there."""
        role = self._engine.read(self._kind, name)
        rule = (role or {}).get("aggregationRule")
        if role is None or not rule:
            return None
        rules = self._collect(name, rule.get("clusterRoleSelectors") or [])
        if rules != (role.get("rules") or []):
            role["rules"] = rules
            self._engine.update(self._kind, role, manager=_MANAGER)
        return None

    def _collect(self, own: str, selectors: list[JsonObject]) -> list[JsonObject]:
        found: list[JsonObject] = []
        for selector in selectors:
            wanted = parse_selector(selector)
            for row in self._table.rows():
                if row.name == own or not wanted.matches(row.labels):
                    continue
                for rule in row.decode().get("rules") or ():
                    if rule not in found:
                        found.append(rule)
        return found
