"""What a kind looks like: the tree of nodes that merging, ownership and decoding walk.

Built-in kinds come from ``facts``; custom resources from their CRD (``fields.crdschema``). A node
says what a value may be (scalar, list, map, or several of them), how its lists and maps merge, and
for built-in kinds how the server writes it back:

    rule p   pointer: written when it is set, even if empty
    rule n   pointer without omitempty: always written, null when not set
    rule o   left out when empty (0, "", false, [], {})
    rule a   always written, with its zero value when not set
    rule s   a struct: always written
    rule z   a struct left out when it is zero
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from devcluster import facts

__all__ = ["ANY", "ATOMIC_ANY", "Node", "SchemaSet", "TypeSchema", "object_meta"]

JsonObject = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALARS = {
    "string": "string",
    "bytes": "string",
    "time": "untyped",
    "scalar": "untyped",
    "int32": "numeric",
    "int64": "numeric",
    "number": "numeric",
    "boolean": "boolean",
}
# Defaults of list keys that are not zero values.
_KEY_DEFAULTS: dict[tuple[str, str], str] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
}


@dataclass(slots=True, eq=False)
class Node:
    """One type at one place. Frozen once it has been built; several places may share one.

    Attributes:
        name: the Go type, for messages.
        type: the OpenAPI type, for the tables of the built-in kinds.
        form: the JSON form to decode: ``struct``, ``map``, ``list``, ``object`` (free-form),
            ``any``, or a scalar's name (``string``, ``bytes``, ``time``, ``duration``,
            ``quantity``, ``int-or-string``, ``int32``, ``int64``, ``number``, ``boolean``).
        scalar: ``string``, ``numeric``, ``boolean`` or ``untyped`` if a scalar is allowed.
        is_map: whether an object is allowed.
        fields: the declared fields of an object.
        element: the type of fields that are not declared; None if there may be none.
        map_atomic: the object is owned and replaced as a whole.
        is_list: whether a list is allowed.
        items: the type of the list's items.
        associative: the list merges item by item (``set`` or ``map``).
        keys: the key fields of a ``map`` list, sorted; empty for a ``set``.
        key_defaults: defaults of key fields that an item may leave out.
        strategy: strategic merge: ``merge``, ``replace``, ``retainKeys``.
        merge_key: strategic merge: the key field.
        rules: per field, how it is written; empty for custom resources.
        go: per field, the Go type that decoding errors quote.
        always: fields that are always written, with their zero values.
        required: fields that the published schema requires.
        elements: path elements of items by their key values; a cache.

    """

    name: str = ""
    type: str = ""
    form: str = "any"
    scalar: str | None = None
    is_map: bool = False
    fields: dict[str, Node] = field(default_factory=dict)
    element: Node | None = None
    map_atomic: bool = False
    is_list: bool = False
    items: Node | None = None
    associative: bool = False
    keys: tuple[str, ...] = ()
    key_defaults: dict[str, Any] = field(default_factory=dict)
    strategy: tuple[str, ...] = ()
    merge_key: str = ""
    rules: dict[str, str] = field(default_factory=dict)
    go: dict[str, str] = field(default_factory=dict)
    always: tuple[tuple[str, Any], ...] = ()
    required: tuple[str, ...] = ()
    elements: dict[Any, str] = field(default_factory=dict)


def _untyped(name: str) -> Node:
    node = Node(name=name, scalar="untyped", is_map=True, is_list=True)
    node.element = node
    return node


# Any JSON value, lists and maps as one piece.
ATOMIC_ANY = _untyped("__untyped_atomic_")
ATOMIC_ANY.items = ATOMIC_ANY
ATOMIC_ANY.map_atomic = True
# Any JSON value, maps field by field: what preserves unknown fields.
ANY = _untyped("__untyped_deduced_")
ANY.items = ATOMIC_ANY


@dataclass(frozen=True, slots=True, eq=False)
class TypeSchema:
    """One kind in one version.

    Attributes:
        group: such as ``apps``; empty for the core group.
        version: such as ``v1``.
        kind: such as ``Deployment``.
        root: the object's node.
        openapi: the CRD version's ``openAPIV3Schema`` with ``apiVersion``, ``kind`` and
            ``metadata`` left as they are; None for built-in kinds.
        has_status: whether ``/status`` exists and the main resource ignores ``status``.
        empty: what a new object of the kind is before any field is set.

    """

    group: str
    version: str
    kind: str
    root: Node
    openapi: JsonObject | None = None
    has_status: bool = True
    empty: JsonObject = field(default_factory=dict)

    @property
    def builtin(self) -> bool:
        """Whether the kind is part of Kubernetes itself."""
        return self.openapi is None

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @staticmethod
    def from_crd_version(crd_obj: JsonObject, version_name: str) -> TypeSchema:
        """The schema of one version of a custom resource.

        Args:
            crd_obj: the CustomResourceDefinition.
            version_name: the name of one of ``spec.versions``; KeyError if there is none.

        """
        from devcluster.fields import crdschema  # noqa: PLC0415  crdschema builds on this module

        return crdschema.type_schema(crd_obj, version_name)


class SchemaSet:
    """The built-in kinds, each built when it is first asked for."""

    def __init__(self, source: facts.Facts) -> None:
        self._builder = _Builder(source)
        self._kinds = source.kinds
        self._schemas: dict[tuple[str, str, str], TypeSchema] = {}

    @staticmethod
    @functools.cache
    def builtin() -> SchemaSet:
        """The one of this release, shared by the process."""
        return SchemaSet(facts.load())

    def for_kind(self, group: str, version: str, kind: str) -> TypeSchema | None:
        """The schema of a built-in kind; None if the facts do not have it."""
        key = (group, version, kind)
        found = self._schemas.get(key)
        if found is None:
            name = self._kinds.get(f"{group}/{version}/{kind}".lstrip("/"))
            if name is None:
                return None
            root = self._builder.named(name)
            found = TypeSchema(
                group=group, version=version, kind=kind, root=root, empty=dict(root.always)
            )
            self._schemas[key] = found
        return found

    def named(self, name: str) -> Node:
        """The node of an OpenAPI type, such as ``io.k8s.api.core.v1.PodSpec``."""
        return self._builder.named(name)


def object_meta() -> Node:
    """The node of ``metadata``."""
    return SchemaSet.builtin().named(_META)


class _Builder:
    def __init__(self, source: facts.Facts) -> None:
        self._source = source
        self._named: dict[str, Node] = {}

    def named(self, name: str) -> Node:
        node = self._named.get(name)
        if node is None:
            node = Node(name=name.rsplit(".", 1)[1], type=name)
            self._named[name] = node
            self._fill(node, name)
        return node

    def _fill(self, node: Node, name: str) -> None:
        described = self._source.types[name]
        if not (isinstance(described, dict) and "f" in described):
            _become(node, self._special(name) or self._form(described))
            return
        node.form = "struct"
        node.is_map = True
        node.map_atomic = described.get("m") == "atomic"
        node.required = tuple(described.get("r", ()))
        node.fields = {key: self._form(form) for key, form in described["f"].items()}
        encoding = self._source.encoding.get(name, {})
        node.rules = {key: value[0] for key, value in encoding.items()}
        node.go = {key: value[2:] for key, value in encoding.items()}
        node.always = tuple(self._always(name))

    def _special(self, name: str) -> Node | None:
        short = name.rsplit(".", 1)[1]
        scalar = {
            "Quantity": "quantity",
            "IntOrString": "int-or-string",
            "Duration": "duration",
            "MicroTime": "microtime",
        }.get(short)
        if scalar:
            return Node(name=short, form=scalar, scalar="untyped")
        if short == "RawExtension":
            return ATOMIC_ANY
        if short.startswith("JSONSchemaPropsOr"):
            return Node(
                name=short,
                form="schema-or",
                scalar="untyped",
                is_map=True,
                element=ANY,
                is_list=True,
                items=ATOMIC_ANY,
            )
        return None

    def _form(self, form: Any) -> Node:
        if isinstance(form, str):
            return self._simple(form)
        base = form["t"]
        if base in {"list", "map"}:
            node = self._list(form) if base == "list" else self._map(form)
        else:
            shared = self._simple(base)
            node = Node()
            _become(node, shared)
            if "m" in form:
                node.map_atomic = form["m"] == "atomic"
        node.strategy = tuple(str(form.get("s", "")).split(",")) if form.get("s") else ()
        node.merge_key = form.get("p", "")
        return node

    def _simple(self, form: str) -> Node:
        if form.startswith("@"):
            return self.named(form[1:])
        if form == "any":
            return ANY
        if form == "object":
            return Node(form="object", is_map=True, element=ANY)
        return Node(form=form, scalar=_SCALARS[form])

    def _list(self, form: JsonObject) -> Node:
        items = self._form(form["of"])
        kind = form.get("l")
        keys = tuple(sorted(form.get("k", ())))
        if kind is None and "merge" in str(form.get("s", "")):
            kind, keys = ("map", (form["p"],)) if form.get("p") else ("set", ())
        return Node(
            form="list",
            is_list=True,
            items=items,
            associative=kind in {"set", "map"},
            keys=keys,
            key_defaults=self._key_defaults(form["of"], keys),
        )

    def _map(self, form: JsonObject) -> Node:
        return Node(
            form="map",
            is_map=True,
            element=self._form(form["of"]),
            map_atomic=form.get("m") == "atomic",
        )

    def _key_defaults(self, of: Any, keys: tuple[str, ...]) -> JsonObject:
        if not isinstance(of, str):
            return {}
        name = of.removeprefix("@")
        encoding = self._source.encoding.get(name, {})
        out: JsonObject = {}
        for key in keys:
            default = _KEY_DEFAULTS.get((name, key))
            if default is None and encoding.get(key, "o")[0] == "a":
                # What is always written has its zero value as its published default.
                default = self._zero(self._source.types[name]["f"][key], encoding[key])
            if default is not None:
                out[key] = default
        return out

    def _always(self, name: str) -> list[tuple[str, Any]]:
        described = self._source.types[name]["f"]
        out = []
        for key, value in self._source.encoding.get(name, {}).items():
            if value[0] in "as":
                out.append((key, self._zero(described[key], value)))
            elif value[0] == "n":
                out.append((key, None))
        return out

    def _zero(self, form: Any, encoded: str) -> Any:
        base = form["t"] if isinstance(form, dict) else form
        if base.startswith("@"):
            target = base[1:]
            described = self._source.types[target]
            if isinstance(described, dict) and "f" in described:
                return dict(self._always(target)) if encoded[0] == "s" else None
            return {"Quantity": "0", "IntOrString": 0}.get(target.rsplit(".", 1)[1])
        if "[]" in encoded or "map[" in encoded:
            return None
        return {"string": "", "boolean": False, "list": None, "map": None}.get(base, 0)


def _become(node: Node, other: Node) -> None:
    for name in Node.__slots__:
        setattr(node, name, getattr(other, name))
