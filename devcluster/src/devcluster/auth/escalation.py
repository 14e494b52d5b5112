"""Nobody grants what they do not hold: the checks on writing roles and bindings."""

from __future__ import annotations

from typing import Any

from devcluster import errors
from devcluster.auth.rbac import Rbac
from devcluster.auth.rules import FULL_AUTHORITY, Attributes, Rule, missing, parse_rules
from devcluster.identity import User
from devcluster.kinds import Target
from devcluster.writes import WriteOptions

__all__ = ["EscalationCheck"]

JsonObject = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"


class EscalationCheck:
    """An admission hook for the four RBAC kinds."""

    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def __call__(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        """Raises 403."""
        kind = target.kind
        if kind.group != _GROUP or "system:masters" in options.user.groups:
            return
        if old is not None and _essence(old) == _essence(new):
            return
        if kind.plural in {"roles", "clusterroles"}:
            self._role(target, new, options)
        else:
            self._binding(target, new, options.user)

    def _may(self, user: User, verb: str, resource: str, target: Target, name: str) -> bool:
        asked = Attributes(
            verb, _GROUP, resource, namespace=target.namespace, name=name, version="v1"
        )
        return self._rbac.decide(user, asked).allowed

    def _role(self, target: Target, new: JsonObject, options: WriteOptions) -> None:
        user, kind = options.user, target.kind
        # A right to one name does not reach a creation, whose path has none.
        if self._may(user, "escalate", kind.plural, target, options.name):
            return
        if new.get("aggregationRule"):
            owned, _ = self._rbac.rules_for(user, target.namespace)
            if missing(owned, FULL_AUTHORITY):
                why = "must have cluster-admin privileges to use the aggregationRule"
                raise errors.forbidden(
                    group=kind.group, plural=kind.plural, name=target.name, why=why
                )
        self._confirm(target, user, parse_rules(new.get("rules")))

    def _binding(self, target: Target, new: JsonObject, user: User) -> None:
        reference = new["roleRef"]
        plural = "roles" if reference["kind"] == "Role" else "clusterroles"
        if self._may(user, "bind", plural, target, reference["name"]):
            return
        rules = self._rbac.role(reference["kind"], reference["name"], target.namespace)
        if rules is None:
            kind = target.kind
            raise errors.not_found(group=kind.group, plural=kind.plural, name=reference["name"])
        self._confirm(target, user, rules)

    def _confirm(self, target: Target, user: User, wanted: tuple[Rule, ...]) -> None:
        owned, lost = self._rbac.rules_for(user, target.namespace)
        left = missing(owned, wanted)
        if not left:
            return
        groups = " ".join(f'"{group}"' for group in user.groups)
        text = (
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not'
            " currently held:\n" + "\n".join(left)
        )
        if lost:
            text += f"; resolution errors: [{', '.join(lost)}]"
        kind = target.kind
        raise errors.forbidden(group=kind.group, plural=kind.plural, name=target.name, why=text)


def _essence(obj: JsonObject) -> JsonObject:
    """What may not change without a check: all but what garbage collection needs to touch."""
    left = {key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}}
    free = {"ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"}
    meta = {key: value for key, value in obj["metadata"].items() if key not in free}
    return {**left, "metadata": meta}
