"""Resource requests: from a parsed path and a body to a response.

Called by the server once a request is authenticated and authorised. Each verb is one method;
what they share (which kind, which options, which form) is prepared in ``Call``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from devcluster import errors
from devcluster.auth.reviews import Reviews
from devcluster.deletes import DeleteOptions
from devcluster.engine import Engine
from devcluster.gate import Strictness
from devcluster.identity import User
from devcluster.kinds import Kind
from devcluster.reading import ListOptions
from devcluster.request import RequestInfo
from devcluster.show.maker import TableMaker
from devcluster.views import View, negotiate
from devcluster.watching import Watch
from devcluster.wire import bodies
from devcluster.wire.protobuf import MAGIC
from devcluster.writes import Outcome, Target, WriteOptions

__all__ = ["Api", "Call", "Reply", "Stream"]

JsonObject = dict[str, Any]
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """A response that goes on: the server writes its lines until they end."""

    watch: Watch


@dataclass(slots=True)
class Call:
    """One authorised request."""

    info: RequestInfo
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User
    warnings: list[str] = field(default_factory=list)

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    def decoded(self) -> JsonObject:
        """The body as an object; 400 or 415."""
        return bodies.decode(self.body, self.content_type)


class Api:
    """The verbs on resources."""

    def __init__(self, engine: Engine, *, tables: TableMaker, reviews: Reviews) -> None:
        self._store = engine.store
        self._kinds = engine.kinds
        self._gate = engine.gate
        self._writer = engine.writer
        self._reader = engine.reader
        self._deleter = engine.deleter
        self._tables = tables
        self._reviews = reviews

    def kind_of(self, info: RequestInfo) -> Kind | None:
        """The kind that a path names, or None (404)."""
        kind = self._kinds.resource(info.group, info.version, info.resource)
        if kind is None:
            return None
        if info.subresource and info.subresource not in kind.subresources:
            return None
        return kind

    def is_write(self, call: Call) -> bool:
        """Whether the request means to change what is stored."""
        if call.method in {"GET", "HEAD"} or call.query.get("dryRun"):
            return False
        kind = self.kind_of(call.info)
        return kind is not None and kind.stored and call.info.subresource != "token"

    def handle(self, call: Call) -> Reply | Stream:
        """Answer; raises ApiFailure."""
        info = call.info
        kind = self.kind_of(info)
        if kind is None:
            raise errors.resource_not_found()
        if kind.namespaced and not info.namespace and info.verb not in {"list", "watch"}:
            raise errors.method_not_allowed()
        if not kind.namespaced and info.namespace and kind.table != ("", "namespaces"):
            raise errors.resource_not_found()
        verbs = kind.subresources[info.subresource].verbs if info.subresource else kind.verbs
        if info.verb not in verbs:
            raise errors.method_not_allowed()
        target = Target(
            kind,
            namespace=info.namespace if kind.namespaced else "",
            name=info.name,
            subresource=info.subresource,
        )
        verb: Callable[[Call, Target], Reply | Stream] = getattr(self, f"_{info.verb}")
        return verb(call, target)

    def _view(self, call: Call, kind: Kind) -> View:
        form, version = negotiate(call.headers.get("Accept", ""))
        include = call.query.get("includeObject", "") or "Metadata"
        return View(kind, form, version, include, self._tables)

    # --- reads --------------------------------------------------------------------------------

    def _get(self, call: Call, target: Target) -> Reply:
        row = self._reader.get(target.kind, namespace=target.namespace, name=target.name)
        return Reply(200, self._view(call, target.kind).one(row))

    def _list(self, call: Call, target: Target) -> Reply:
        view = self._view(call, target.kind)
        options = ListOptions.parse(call.query)
        page = self._reader.list(target.kind, namespace=target.namespace, options=options)
        return Reply(200, view.many(page.rows, page.meta))

    def _watch(self, call: Call, target: Target) -> Stream:
        options = ListOptions.parse(call.query)
        kind = target.kind
        chosen = self._reader.selection(kind, namespace=target.namespace, options=options)
        table = self._store.table(kind.table)
        return Stream(Watch(self._store, table, self._view(call, kind), chosen, options))

    # --- writes -------------------------------------------------------------------------------

    def _options(self, call: Call) -> WriteOptions:
        query = call.query
        mode = query.get("fieldValidation", "") or "Warn"
        if mode not in {"Strict", "Warn", "Ignore"}:
            raise errors.bad_request(f"unsupported fieldValidation: {mode}")
        strictness: Strictness = "Strict" if mode == "Strict" else "Warn"
        if mode == "Ignore":
            strictness = "Ignore"
        manager = query.get("fieldManager", "") or _default_manager(call.headers)
        return WriteOptions(
            manager=manager,
            user=call.user,
            dry_run=_dry_run(query),
            strictness=strictness,
            force=query.get("force", "") in {"true", "1"},
            raw=b"" if call.body.startswith(MAGIC) else call.body,
            warnings=call.warnings,
        )

    def _create(self, call: Call, target: Target) -> Reply:
        if target.subresource == "token":
            return Reply(201, orjson.dumps(self._reviews.issue(target, call.decoded())))
        obj = self._decode_object(call, target.kind)
        if not target.kind.stored:
            return Reply(201, orjson.dumps(self._reviews.answer(target, obj, call.user)))
        options = self._options(call)
        return self._written(call, target, self._writer.create(target, obj, options))

    def _update(self, call: Call, target: Target) -> Reply:
        obj = self._decode_object(call, target.kind)
        options = self._options(call)
        return self._written(call, target, self._writer.update(target, obj, options))

    def _patch(self, call: Call, target: Target) -> Reply:
        options = self._options(call)
        kind = call.content_type
        if kind == _APPLY:
            if not call.query.get("fieldManager"):
                raise _manager_required()
            applied = call.decoded()
            return self._written(call, target, self._writer.apply(target, applied, options))
        change = self._change(kind, target.kind, call.body)
        return self._written(call, target, self._writer.patch(target, change, options))

    def _change(
        self, content_type: str, kind: Kind, body: bytes
    ) -> Callable[[JsonObject], JsonObject]:
        gate = self._gate
        if content_type == _JSON_PATCH:
            ops = bodies.json_value(body)
            return lambda obj: gate.json_patch(obj, ops)
        if content_type == _MERGE_PATCH:
            patch = bodies.json_value(body)
            return lambda obj: gate.merge_patch(obj, patch)
        if content_type == _STRATEGIC and not kind.crd:
            patch = bodies.json_value(body)
            return lambda obj: gate.strategic(kind, obj, patch)
        accepted = [_JSON_PATCH, _MERGE_PATCH]
        accepted += [_APPLY] if kind.crd else [_STRATEGIC, _APPLY]
        raise errors.unsupported_media_type(accepted)

    def _written(self, call: Call, target: Target, outcome: Outcome) -> Reply:
        body = self._view(call, target.kind).dump(outcome.obj)
        return Reply(201 if outcome.created else 200, body)

    def _decode_object(self, call: Call, kind: Kind) -> JsonObject:
        obj = call.decoded()
        given = (obj.get("apiVersion", ""), obj.get("kind", ""))
        expected = (kind.api_version, kind.kind)
        if any(given) and given != expected:
            raise errors.bad_request(
                f"the API version in the data ({given[0]}) does not match the expected API version"
                f" ({expected[0]})"
            )
        return {"kind": kind.kind, "apiVersion": kind.api_version, **obj}

    # --- deletes ------------------------------------------------------------------------------

    def _delete_options(self, call: Call) -> DeleteOptions:
        body = call.decoded() if call.body.strip() else {}
        return DeleteOptions.parse(body, dict(call.query))

    def _delete(self, call: Call, target: Target) -> Reply:
        options = self._delete_options(call)
        kind = target.kind
        result = self._deleter.delete(target, options)
        if not result.gone:
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
        listing = ListOptions.parse(call.query)
        page = self._reader.list(kind, namespace=target.namespace, options=listing)
        for row in page.rows:
            one = Target(kind, namespace=row.namespace, name=row.name)
            try:
                self._deleter.delete(one, options)
            except errors.ApiFailure as failure:
                if failure.code not in {404, 409}:
                    raise
        return Reply(200, view.many(page.rows, page.meta))


def _dry_run(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun", "")
    if value not in {"", "All"}:
        raise errors.bad_request(f"invalid dryRun: {value}")
    return value == "All"


def _default_manager(headers: Mapping[str, str]) -> str:
    """The manager of a write that names none: the user agent up to its first slash."""
    return headers.get("User-Agent", "").partition("/")[0][:128] or "unknown"


def _manager_required() -> errors.ApiFailure:
    return errors.invalid(
        group="meta.k8s.io",
        kind="PatchOptions",
        name="",
        causes=[
            {
                "reason": "FieldValueRequired",
                "message": "Required value: is required for apply patch",
                "field": "fieldManager",
            }
        ],
    )
