"""The cluster without HTTP: what the server and the controllers inside both work on."""

from __future__ import annotations

from typing import Any

from devcluster.admission import conversions, standard_hooks
from devcluster.auth.escalation import EscalationCheck
from devcluster.auth.rbac import Rbac, denied
from devcluster.auth.rules import Attributes
from devcluster.deletes import DeleteOptions, Deleter
from devcluster.errors import ApiFailure
from devcluster.gate import Gate
from devcluster.identity import User
from devcluster.kinds import Kind, Kinds, Target
from devcluster.reading import Reader
from devcluster.store import Store
from devcluster.writes import Hook, Outcome, WriteOptions, Writer

__all__ = ["Engine"]

JsonObject = dict[str, Any]


class Engine:
    """Storage, kinds and verbs, wired."""

    def __init__(self, *, history_changes: int = 20_000) -> None:
        self.kinds = Kinds()
        self.store = Store(max_changes=history_changes)
        self.gate = Gate()
        self.deleter = Deleter(self.store)
        self.rbac = Rbac(self.store)
        hooks: list[Hook] = [*standard_hooks(self.store), EscalationCheck(self.rbac)]
        self.writer = Writer(self.store, self.gate, hooks=hooks, conversions=conversions())
        self.writer.may_create = self._may_create
        self.writer.on_finalized(self.deleter.may_go)
        self.reader = Reader(self.store)

    def _may_create(self, target: Target, user: User) -> None:
        """A write that turns out to be a create needs that right as well."""
        kind = target.kind
        asked = Attributes(
            "create",
            kind.group,
            kind.plural,
            namespace=target.namespace,
            name=target.name,
            version=kind.version,
        )
        decision = self.rbac.decide(user, asked)
        if not decision.allowed:
            raise denied(user, asked, decision.reason)

    def kind(self, group: str, kind: str) -> Kind:
        """A kind that is always served."""
        found = self.kinds.for_kind(group, kind)
        if found is None:
            raise LookupError(f"{kind}.{group} is not served")
        return found

    def read(self, kind: Kind, name: str, *, namespace: str = "") -> JsonObject | None:
        """A decoded object, or None."""
        return self.writer.live(Target(kind, namespace=namespace, name=name))

    def create(self, kind: Kind, obj: JsonObject, *, manager: str) -> Outcome | None:
        """Create on behalf of a controller; None when it is there already."""
        meta = obj["metadata"]
        target = Target(kind, namespace=meta.get("namespace", ""), name=meta["name"])
        obj = {"kind": kind.kind, "apiVersion": kind.api_version, **obj}
        options = WriteOptions(manager=manager, strictness="Ignore")
        try:
            return self.writer.create(target, obj, options)
        except ApiFailure as failure:
            if failure.code == 409:
                return None
            raise

    def update(
        self, kind: Kind, obj: JsonObject, *, manager: str, subresource: str = ""
    ) -> Outcome | None:
        """Replace on behalf of a controller; None when it is gone meanwhile."""
        meta = obj["metadata"]
        target = Target(
            kind,
            namespace=meta.get("namespace", ""),
            name=meta["name"],
            subresource=subresource,
        )
        options = WriteOptions(manager=manager, strictness="Ignore")
        try:
            return self.writer.update(target, obj, options)
        except ApiFailure as failure:
            if failure.code == 404:
                return None
            raise

    def write_status(
        self, kind: Kind, obj: JsonObject, status: JsonObject, *, manager: str
    ) -> Outcome:
        """Give an object that has just been read, and not been changed since, a new status."""
        meta = obj["metadata"]
        target = Target(
            kind,
            namespace=meta.get("namespace", ""),
            name=meta["name"],
            subresource="status",
        )
        options = WriteOptions(manager=manager, strictness="Ignore")
        return self.writer.write_status(target, obj, status, options)

    def delete(
        self, kind: Kind, name: str, *, namespace: str = "", propagation: str = "", uid: str = ""
    ) -> None:
        """Delete on behalf of a controller; an object that is gone is no error."""
        target = Target(kind, namespace=namespace, name=name)
        try:
            self.deleter.delete(target, DeleteOptions(propagation=propagation, uid=uid))
        except ApiFailure as failure:
            if failure.code not in {404, 409}:
                raise
