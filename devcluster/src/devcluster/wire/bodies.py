"""Request bodies by content type: JSON, YAML, protobuf."""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from devcluster import errors
from devcluster.wire import protobuf

__all__ = ["decode", "json_value"]

JsonObject = dict[str, Any]
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ACCEPTED = ("application/json", "application/yaml", _PROTOBUF)
_YAML = {"application/yaml", "application/apply-patch+yaml"}


def decode(body: bytes, content_type: str) -> JsonObject:
    """An object.

    Raises:
        ApiFailure: 415 for a content type that is not served, 400 for a body that is no object.

    """
    if content_type not in {"", *_ACCEPTED, *_YAML}:
        raise errors.unsupported_media_type(_ACCEPTED)
    if content_type == _PROTOBUF:
        try:
            return protobuf.decode(body)
        except protobuf.ProtobufError as error:
            raise errors.bad_request(str(error)) from error
    obj = _yaml_value(body) if content_type in _YAML else json_value(body)
    if not isinstance(obj, dict):
        raise errors.bad_request("the body is not an object")
    return obj


def json_value(body: bytes) -> Any:
    """Any JSON value; 400 when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"error decoding body: {error}") from error


def _yaml_value(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # The safe loader, in C: dates stay what they are in JSON, so timestamps are put back.
        return _plain(yaml.load(body, Loader=_Loader))  # noqa: S506
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error converting YAML to JSON: {error}") from error


class _Loader(yaml.CSafeLoader):
    """Without the implicit timestamps of YAML 1.1, which Kubernetes does not have."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own shape)
        first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _plain(value: Any) -> Any:
    """JSON data: map keys are texts."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
