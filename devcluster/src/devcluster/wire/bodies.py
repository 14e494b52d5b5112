"""Request bodies by content type: JSON, YAML, protobuf."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import orjson
import yaml

from devcluster import errors
from devcluster.wire import protobuf
from devcluster.wire.gojson import complaint

__all__ = ["applied", "decode", "patch", "repeated_keys"]

JsonObject = dict[str, Any]
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ACCEPTED = ("application/json", "application/yaml", _PROTOBUF)
_YAML = {"application/yaml"}
_EXCERPT = 30  # bytes of a bad body that an error shows


def decode(body: bytes, content_type: str, *, kind: str) -> JsonObject:
    """An object, which should be of ``kind``.

    Raises:
        ApiFailure: 415 for a content type that is not served, 400 for a body that is no object.

    """
    if content_type not in {"", *_ACCEPTED}:
        raise errors.unsupported_media_type(_ACCEPTED)
    if content_type == _PROTOBUF:
        try:
            return protobuf.decode(body)
        except protobuf.ProtobufError as error:
            raise errors.bad_request(str(error)) from error
    try:
        obj = _yaml_value(body) if content_type in _YAML else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _unrecognised(body, kind, _unread(complaint(body) or str(error))) from error
    except yaml.YAMLError as error:
        raise _unrecognised(body, kind, f"yaml: {_yaml_problem(error)}") from error
    if obj is None and body.strip():
        return {}
    if not isinstance(obj, dict):
        raise _unrecognised(body, kind, _unread(_not_an_object(obj)))
    _check_head(obj, body, kind)
    return obj


def _check_head(obj: JsonObject, body: bytes, kind: str) -> None:
    for name in ("apiVersion", "kind"):
        given = obj.get(name)
        if given is not None and not isinstance(given, str):
            why = f"json: cannot unmarshal {_go_type(given)} into Go struct field .{name} of type string"
            raise _unrecognised(body, kind, _unread(why))
    version = obj.get("apiVersion") or ""
    if version.count("/") > 1:
        raise _unrecognised(body, kind, f"unexpected GroupVersion string: {version}")


def _unread(why: str) -> str:
    return f"couldn't get version/kind; json parse error: {why}"


def _unrecognised(body: bytes, kind: str, text: str) -> errors.ApiFailure:
    if kind == "DeleteOptions":
        return errors.bad_request(text)
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {kind}): {text} ({_excerpt(body)})"
    )


def _excerpt(body: bytes) -> str:
    """The beginning of a body, in hexadecimal unless it looks like JSON."""
    if not body:
        return "<empty>"
    head = body[:_EXCERPT]
    more = " ..." if len(body) > _EXCERPT else ""
    return (head.decode(errors="replace") if body[:1] == b"{" else head.hex()) + more


def _go_type(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, dict):
        return "object"
    names = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(type(value), "null")


def _not_an_object(value: Any) -> str:
    return (
        f"json: cannot unmarshal {_go_type(value)} into Go value of type struct {{ APIVersion string"
        ' "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
    )


def _yaml_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error)


def patch(body: bytes) -> Any:
    """A JSON or merge patch; 400 when it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request("invalid JSON patch") from error


def applied(body: bytes) -> JsonObject:
    """An applied configuration, in JSON or YAML; 400 when it is neither."""
    try:
        obj = _yaml_value(body)
    except yaml.YAMLError as error:
        problem = _yaml_problem(error)
        raise errors.bad_request(f"error encoding patch: yaml: {problem}") from error
    if obj is None:
        raise errors.bad_request("invalid object type: /, Kind=")
    if not isinstance(obj, dict):
        raise errors.bad_request(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot"
            f" unmarshal {_go_type(obj)} into Go value of type map[string]interface {{}}"
        )
    return obj


def repeated_keys(body: bytes, obj: JsonObject) -> list[str]:
    """``line N: key "x" already set in map`` for each repeated key of an applied configuration.

    Args:
        body: what was sent.
        obj: what it was decoded to, where each key is left once.

    """
    if body[:1] == b"{" and _colons(body) == _colons(orjson.dumps(obj)):
        return []
    return list(_repeated(next(yaml.compose_all(body, Loader=yaml.CSafeLoader), None)))


def _colons(text: bytes) -> int:
    """How many keys JSON has, and whatever in its strings looks like one: the same before and after."""
    return text.count(b'":') + text.count(b'" :')


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            yield f'line {key.start_mark.line + 1}: key "{key.value}" already set in map'
        seen.add(key.value)
        yield from _repeated(value)


def _yaml_value(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        documents = yaml.load_all(body, Loader=_Loader)
        return next(documents, None)


class _Loader(yaml.CSafeLoader):
    """JSON data: texts as keys; no timestamps, which Kubernetes does not have; 1e3 is a number."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own shape)
        first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 (PyYAML's signature)
        self.flatten_mapping(node)
        return {
            _key(self.construct_object(key, deep=True)): self.construct_object(value, deep=deep)
            for key, value in node.value
        }

    def construct_exponent(self, node: yaml.ScalarNode) -> float:
        """A number such as 1e3, whole if it is."""
        value = float(node.value)
        return int(value) if value.is_integer() else value


_EXPONENT = "!exponent"
_Loader.add_constructor(_EXPONENT, _Loader.construct_exponent)
_Loader.add_implicit_resolver(
    _EXPONENT, re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
