"""The verbs on resources: from an authorised request to a reply.

Called by the server. Each verb is one method; what a path, a body and a query mean is settled
before it (``request``, ``calls``, ``parameters``), what an object becomes is settled below it
(``writes``, ``deletes``, ``reading``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from devcluster import errors, naming, podlogs, scaling, strategies
from devcluster.auth.issuing import TOKEN_REQUEST, Issuer
from devcluster.auth.reviews import Reviews
from devcluster.calls import Call, Reply, Stream
from devcluster.deletes import DeleteOptions
from devcluster.engine import Engine
from devcluster.kinds import Kind, Target
from devcluster.negotiation import to_yaml
from devcluster.parameters import ListOptions, check_write
from devcluster.plain import NO_PAGE
from devcluster.request import RequestInfo
from devcluster.sametype import check_options
from devcluster.show.maker import TableMaker
from devcluster.views import View
from devcluster.watching import Watch
from devcluster.wire import bodies
from devcluster.writes import Outcome, WriteOptions

__all__ = ["Api"]

JsonObject = dict[str, Any]
_STRICT_YAML = "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_PATCHES = (_JSON_PATCH, _MERGE_PATCH, _STRATEGIC, _APPLY, "application/apply-patch+cbor")
# Verbs that a collection and an object have.
_ON_COLLECTION = frozenset({"list", "watch", "create", "deletecollection"})
_ON_OBJECT = frozenset({"get", "watch", "update", "patch", "delete"})


class Api:
    """Answers resource requests."""

    def __init__(
        self, engine: Engine, *, tables: TableMaker, reviews: Reviews, issuer: Issuer
    ) -> None:
        self._store = engine.store
        self._kinds = engine.kinds
        self._gate = engine.gate
        self._writer = engine.writer
        self._reader = engine.reader
        self._deleter = engine.deleter
        self._tables = tables
        self._reviews = reviews
        self._issuer = issuer

    def kind_of(self, info: RequestInfo) -> Kind | None:
        """The kind that a path names, or None (404)."""
        kind = self._kinds.resource(info.group, info.version, info.resource)
        if kind is None:
            return None
        if info.subresource and info.subresource not in kind.subresources:
            return kind if podlogs.is_log(kind, info.subresource) else None
        return kind

    def _is_custom(self, group: str) -> bool:
        versions = self._kinds.versions(group)
        return all(kind.crd for version in versions for kind in self._kinds.of(group, version))

    def _nothing_custom(self, info: RequestInfo) -> Reply:
        kind = self._kinds.resource(info.group, info.version, info.resource)
        if kind is None:
            return NO_PAGE
        raise errors.not_found(group=kind.group, plural=kind.plural, name=info.name)

    def is_write(self, call: Call) -> bool:
        """Whether the request means to change what is stored."""
        if call.method in {"GET", "HEAD"} or call.query.get("dryRun"):
            return False
        kind = self.kind_of(call.info)
        return kind is not None and kind.stored and call.info.subresource != "token"

    def handle(self, call: Call) -> Reply | Stream:
        """Answer; raises ApiFailure."""
        info = call.info
        if not self._kinds.versions(info.group):
            return NO_PAGE
        kind = self.kind_of(info)
        if kind is None:
            if self._is_custom(info.group):
                return self._nothing_custom(info)
            raise errors.resource_not_found()
        if kind.crd and not kind.namespaced and info.namespace:
            return NO_PAGE
        _check_route(info, kind)
        target = Target(
            kind,
            namespace=info.namespace if kind.namespaced else "",
            name=info.name,
            subresource=info.subresource,
        )
        if kind.deprecation:
            call.warnings.append(kind.deprecation)
        as_yaml = call.wanted.yaml  # or a refusal, before anything is written
        verb: Callable[[Call, Target], Reply | Stream] = getattr(self, f"_{info.verb}")
        reply = verb(call, target)
        if as_yaml and isinstance(reply, Reply):
            return Reply(reply.status, to_yaml(reply.body), "application/yaml")
        return reply

    def _view(self, call: Call, kind: Kind) -> View:
        include = call.query.get("includeObject", "") or "Metadata"
        return View(kind, call.wanted, include, self._tables)

    # --- reads --------------------------------------------------------------------------------

    def _get(self, call: Call, target: Target) -> Reply:
        if target.subresource == "scale":
            return self._scale(call, target)
        if target.subresource == "log":
            return self._log(call, target)
        row = self._reader.get(
            target.kind,
            namespace=target.namespace,
            name=target.name,
            revision=call.query.get("resourceVersion", ""),
        )
        return Reply(200, self._view(call, target.kind).one(row))

    def _log(self, call: Call, target: Target) -> Reply:
        row = self._reader.get(target.kind, namespace=target.namespace, name=target.name)
        return Reply(200, podlogs.log_of(row.decode(), call.query), "text/plain")

    def _list(self, call: Call, target: Target) -> Reply:
        view = self._view(call, target.kind)
        options = ListOptions.parse(call.query)
        page = self._reader.list(target.kind, namespace=target.namespace, options=options)
        return Reply(200, view.many(page.rows, page.meta))

    def _watch(self, call: Call, target: Target) -> Stream:
        options = ListOptions.parse(call.query, watch=True)
        if target.name:
            options = options.only(target.name)
        kind = target.kind
        chosen = self._reader.selection(kind, namespace=target.namespace, options=options)
        table = self._store.table(kind.table)
        watch = Watch(self._store, table, self._view(call, kind), chosen, options)
        watch.check()
        return Stream(watch)

    # --- writes -------------------------------------------------------------------------------

    def _create(self, call: Call, target: Target) -> Reply:
        check_write("CreateOptions", call.query)
        options = call.write_options()
        if target.subresource == "token":
            request = call.object(TOKEN_REQUEST)
            issued = self._issuer.issue(target, request, manager=options.manager)
            return Reply(201, orjson.dumps(issued))
        obj = call.object(target.kind)
        if not target.kind.stored:
            answer = self._reviews.answer(target, obj, call.user)
            return Reply(201, orjson.dumps(self._writer.tracked(target, answer, options)))
        return self._written(call, target, self._writer.create(target, obj, options))

    def _update(self, call: Call, target: Target) -> Reply:
        check_write("UpdateOptions", call.query)
        options = call.write_options()
        if target.subresource == "scale":
            if target.kind.crd:
                scaling.check_kind(call.decoded("Scale"))
            scale = call.object(scaling.SCALE)
            naming.must_be_named(target, scale)
            naming.check(target, scale)
            return self._rescale(target, lambda _old: scale, call)
        obj = call.object(target.kind)
        return self._written(call, target, self._writer.update(target, obj, options))

    def _patch(self, call: Call, target: Target) -> Reply:
        form = call.content_type
        if form not in _PATCHES:
            raise errors.ApiFailure(
                415, "UnsupportedMediaType", "415: Unsupported Media Type", details={}
            )
        check_write("PatchOptions", call.query, apply=form == _APPLY)
        options = call.write_options()
        if target.subresource == "scale":
            change = self._change(_MERGE_PATCH if form == _APPLY else form, target.kind, call)
            return self._rescale(target, change, call)
        if form == _APPLY:
            applied = bodies.applied(call.body)
            return self._written(call, target, self._apply(call, target, applied, options))
        strategic = bodies.patch(call.body) if form == _STRATEGIC else None
        change = self._change(form, target.kind, call)
        outcome = self._writer.patch(target, change, options, strategic=strategic)
        return self._written(call, target, outcome)

    def _apply(
        self, call: Call, target: Target, applied: JsonObject, options: WriteOptions
    ) -> Outcome:
        """Apply; repeated keys are looked at when all else has been."""
        repeated: list[str] = []
        if options.strictness != "Ignore":
            repeated = bodies.repeated_keys(call.body, applied)
        if repeated and options.strictness == "Strict":
            self._writer.apply(target, applied, replace(options, dry_run=True))
            lines = "\n".join(f"  {line}" for line in repeated)
            raise errors.bad_request(f"{_STRICT_YAML}\n{lines}")
        outcome = self._writer.apply(target, applied, options)
        call.warnings += repeated
        return outcome

    def _change(self, form: str, kind: Kind, call: Call) -> Callable[[JsonObject], JsonObject]:
        gate = self._gate
        if form == _JSON_PATCH:
            ops = bodies.patch(call.body)
            return lambda obj: gate.json_patch(obj, ops)
        if form == _MERGE_PATCH:
            merge = bodies.patch(call.body)
            return lambda obj: gate.merge_patch(obj, merge)
        if form == _STRATEGIC and not kind.crd:
            strategic = bodies.patch(call.body)
            return lambda obj: gate.strategic(kind, obj, strategic)
        accepted = [_JSON_PATCH, _MERGE_PATCH]
        accepted += [_APPLY] if kind.crd else [_STRATEGIC, _APPLY]
        raise errors.unsupported_media_type(accepted)

    def _written(self, call: Call, target: Target, outcome: Outcome) -> Reply:
        view = self._view(call, target.kind)
        body = view.one(outcome.row) if outcome.row is not None else view.dump(outcome.obj)
        return Reply(201 if outcome.created else 200, body)

    # --- scale --------------------------------------------------------------------------------

    def _scale(self, call: Call, target: Target) -> Reply:
        scale = scaling.scale_of(target.kind, self._writer.must_live(target))
        if call.wanted.form == "table" and not target.kind.crd:
            scale = scaling.table_of(scale, call.wanted.version)
        elif call.wanted.form == "metadata":
            version = f"meta.k8s.io/{call.wanted.version}"
            scale = {
                "kind": "PartialObjectMetadata",
                "apiVersion": version,
                "metadata": scale["metadata"],
            }
        return Reply(200, orjson.dumps(scale))

    def _rescale(
        self, target: Target, change: Callable[[JsonObject], JsonObject], call: Call
    ) -> Reply:
        kind = target.kind
        old = self._writer.must_live(target)
        scale = change(scaling.scale_of(kind, old, to_write=True))
        scaling.check(kind, target.name, scale)
        new = scaling.with_scale(kind, old, scale)
        options = call.write_options()
        options.raw = b""
        outcome = self._writer.update(target, new, options)
        return Reply(200, orjson.dumps(scaling.scale_of(kind, outcome.obj)))

    # --- deletes ------------------------------------------------------------------------------

    def _delete_options(self, call: Call) -> DeleteOptions:
        check_write("DeleteOptions", call.query)
        body = call.decoded("DeleteOptions") if call.body.strip() else {}
        check_options(body, "DeleteOptions")
        return DeleteOptions.parse(body, dict(call.query))

    def _delete(self, call: Call, target: Target) -> Reply:
        options = self._delete_options(call)
        kind = target.kind
        result = self._deleter.delete(target, options)
        if not result.gone or strategies.returns_deleted(kind):
            return Reply(200, self._view(call, kind).dump(result.obj))
        details = {"name": target.name, "group": kind.group, "kind": kind.plural}
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                **{name: value for name, value in details.items() if value},
                "uid": result.obj["metadata"]["uid"],
            },
        }
        return Reply(200, orjson.dumps(status))

    def _deletecollection(self, call: Call, target: Target) -> Reply:
        options = self._delete_options(call)
        kind = target.kind
        view = self._view(call, kind)
        page = self._reader.list(
            kind, namespace=target.namespace, options=ListOptions.parse(call.query)
        )
        for row in page.rows:
            one = Target(kind, namespace=row.namespace, name=row.name)
            try:
                self._deleter.delete(one, options)
            except errors.ApiFailure as failure:
                if failure.code != 404:
                    raise
        # Of custom kinds the token is told even where there is none.
        meta = {"continue": "", **page.meta} if kind.crd else page.meta
        return Reply(200, view.many(page.rows, meta))


def _check_route(info: RequestInfo, kind: Kind) -> None:
    """Refuse what the real server has no such path for, or not this method on it."""
    _check_scope(info, kind)
    if "%" in info.name:
        text = f"Name parameter invalid: \"{info.name}\": may not contain '%'"
        raise errors.bad_request(text)
    if info.subresource:
        if info.verb not in _verbs(kind, info.subresource):
            raise errors.method_not_allowed()
        return
    if info.name and not kind.stored:
        raise errors.resource_not_found()
    if info.verb not in kind.verbs:
        raise errors.method_not_allowed()
    if info.verb not in (_ON_OBJECT if info.name else _ON_COLLECTION):
        raise errors.method_not_allowed()


def _verbs(kind: Kind, subresource: str) -> tuple[str, ...]:
    if podlogs.is_log(kind, subresource):
        return ("get",)
    return tuple(kind.subresources[subresource].verbs)


def _check_scope(info: RequestInfo, kind: Kind) -> None:
    if kind.namespaced and not info.namespace:
        if info.name or not kind.stored:
            raise errors.resource_not_found()
        if info.verb not in {"list", "watch"}:
            raise errors.method_not_allowed()
    of_namespaces = kind.table == ("", "namespaces")
    if not kind.namespaced and info.namespace and not of_namespaces:
        raise errors.resource_not_found()
    if of_namespaces and info.namespace != info.name:
        raise errors.resource_not_found()
