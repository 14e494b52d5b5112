"""Reading kubeconfig documents: YAML to the one cluster and user that its context names.

Nothing here opens a file or trusts a value: ``fluvial.kube.config`` reads the operator's own
files, ``fluvial.kube.remote`` rebuilds a tenant's document field by field. Both get a ``Selected``
and decide themselves what they make of its fields.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fluvial.errors import FluvialError
from fluvial.kube.auth import ExecPlugin
from fluvial.objects import JsonObject

__all__ = ["InvalidKubeConfig", "Selected", "merge", "parse", "select"]

_MAX_BYTES = 1024 * 1024


class InvalidKubeConfig(FluvialError):
    """The document is not a kubeconfig, or its context leads nowhere. The text has no secret."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The cluster and the user of one context, as they are written."""

    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The server's URL without a trailing slash.

        Raises:
            InvalidKubeConfig: there is none.

        """
        server = self.text(self.cluster, "server").rstrip("/")
        if not server:
            raise InvalidKubeConfig("kubeconfig: the cluster has no server")
        return server

    @staticmethod
    def text(section: Mapping[str, Any], name: str) -> str:
        """A field that must be text; ``""`` where it is missing.

        Raises:
            InvalidKubeConfig: it is something else.

        """
        value = section.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidKubeConfig(f"kubeconfig: {name} must be text")
        return value

    @staticmethod
    def flag(section: Mapping[str, Any], name: str) -> bool:
        """A field that must be true or false; false where it is missing.

        Raises:
            InvalidKubeConfig: it is something else.

        """
        value = section.get(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidKubeConfig(f"kubeconfig: {name} must be true or false")
        return bool(value)

    def data(self, section: Mapping[str, Any], name: str) -> bytes | None:
        """A base64 field; ``None`` where it is missing or empty.

        Raises:
            InvalidKubeConfig: it is not base64.

        """
        text = self.text(section, name)
        if not text:
            return None
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidKubeConfig(f"kubeconfig: {name} is not base64") from None

    def exec_plugin(self) -> ExecPlugin | None:
        """The credential plugin of the user, if it has one.

        Raises:
            InvalidKubeConfig: the section is not complete.

        """
        section = self.user.get("exec")
        if section is None:
            return None
        if not isinstance(section, dict) or not self.text(section, "command"):
            raise InvalidKubeConfig("kubeconfig: exec needs a command")
        if not self.text(section, "apiVersion"):
            raise InvalidKubeConfig("kubeconfig: exec needs an apiVersion")
        env = [each for each in section.get("env") or () if isinstance(each, dict)]
        info = dict(self.cluster) if self.flag(section, "provideClusterInfo") else None
        return ExecPlugin(
            command=self.text(section, "command"),
            args=tuple(str(each) for each in section.get("args") or ()),
            env=tuple((str(each.get("name", "")), str(each.get("value", ""))) for each in env),
            api_version=self.text(section, "apiVersion"),
            cluster=info,
        )


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # either
    """Without merge keys: a few lines of them can stand for any number of entries."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for each mapping before it is made."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "merge keys are not allowed", node.start_mark
            )


def parse(data: bytes) -> JsonObject:
    """A kubeconfig document, YAML or JSON. Takes milliseconds per 10 KiB: use a thread.

    Raises:
        InvalidKubeConfig: it is too large or not a mapping; the text does not quote it.

    """
    if len(data) > _MAX_BYTES:
        raise InvalidKubeConfig(f"kubeconfig: larger than {_MAX_BYTES} bytes")
    try:
        document = yaml.load(data, Loader=_Loader)  # noqa: S506 - safe
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise InvalidKubeConfig(f"kubeconfig: not valid YAML{where}") from None
    if not isinstance(document, dict):
        raise InvalidKubeConfig("kubeconfig: not a mapping")
    return document


def merge(documents: Sequence[JsonObject]) -> JsonObject:
    """Several documents as one, as ``KUBECONFIG`` with several files means it: the first wins."""
    merged: JsonObject = {"clusters": [], "users": [], "contexts": [], "current-context": ""}
    for document in documents:
        merged["current-context"] = merged["current-context"] or document.get("current-context")
        for section in ("clusters", "users", "contexts"):
            known = {each["name"] for each in merged[section]}
            merged[section] += [e for e in _named(document, section) if e["name"] not in known]
    return merged


def select(document: JsonObject, *, context: str = "") -> Selected:
    """The cluster and user of a context, by default of the current one.

    Raises:
        InvalidKubeConfig: something that is named is not there.

    """
    name = context or Selected.text(document, "current-context")
    if not name:
        raise InvalidKubeConfig("kubeconfig: no current-context is set")
    chosen = _find(document, "contexts", name, "context")
    cluster = _find(document, "clusters", Selected.text(chosen, "cluster"), "cluster")
    user_name = Selected.text(chosen, "user")
    user = _find(document, "users", user_name, "user") if user_name else {}
    return Selected(cluster, user)


def _named(document: JsonObject, section: str) -> list[JsonObject]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise InvalidKubeConfig(f"kubeconfig: {section} must be a list")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidKubeConfig(f"kubeconfig: every entry of {section} needs a name")
    return entries


def _find(document: JsonObject, section: str, name: str, key: str) -> JsonObject:
    for entry in _named(document, section):
        if entry["name"] == name:
            value = entry.get(key)
            if isinstance(value, dict):
                return value
            break
    raise InvalidKubeConfig(f"kubeconfig: {section} has no {name!r}")
