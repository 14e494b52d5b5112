"""Take out of an answer what no two runs have in common, and nothing else.

That is: uids, resource versions, times, generated name suffixes, addresses and tokens. Each
becomes a placeholder, numbered by first appearance where equality means something: ``<rv:1>`` in
two answers says that nothing was written between them. What the scenario itself sent is never
replaced. Entries of managedFields are ordered by time on the server, so they are sorted here.
The causes of a conflict with several managers come in an order that varies: sorted, too.
The prose in a Table's column descriptions is documentation, and left out.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Normaliser"]

Json = dict[str, Any]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_IPV4 = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_ENDPOINT = re.compile(r"\d{1,3}(\.\d{1,3}){3}:\d+")
_TOO_OLD = re.compile(r"(too old resource version: )\d+( \()\d+(\))")
_TOO_NEW = re.compile(r"(Too large resource version: )(\d+)(, current: )\d+")
_VERSION_IN_TEXT = re.compile(
    r'(ResourceVersion in [a-z ]+(?:\(|: )|resourceVersion\\*":\\*")(\d+)'
)
_AGE = re.compile(r"(\d+[smhdy])+")
_SOME_VERSION = "<rv>"
_ABSENT = ""
_WORKLOAD_MANAGERS = ("kube-controller-manager", "stand-in-kubelet")
_REVISION = "deployment.kubernetes.io/revision"


class Normaliser:
    """For the answers of one scenario, in their order.

    Args:
        sent: everything that the scenario sends, as text; what occurs there stays.
        workload: leave out what workload controllers write, too.

    """

    def __init__(self, *, sent: str, workload: bool = False) -> None:
        self._sent = sent
        self._workload = workload
        self._numbers: dict[tuple[str, str], int] = {}
        self._generated: dict[str, str] = {}

    def answer(self, body: Any) -> Any:
        """``body``, parsed JSON or text, with placeholders."""
        self._learn_names(body)
        return self._value("", body)

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self._map(value)
        if isinstance(value, list):
            items = [self._value(key, item) for item in value]
            if key == "managedFields":
                return sorted(items, key=_manager_order)
            return sorted(items, key=_cause_order) if _are_conflicts(key, items) else items
        return self._text(key, value) if isinstance(value, str) else value

    def _map(self, value: Json) -> Json:
        if self._workload:
            value = _without_controllers(value)
        if value.get("columnDefinitions"):
            value = {**value, "columnDefinitions": _bare_columns(value["columnDefinitions"])}
        if isinstance(value.get("items", value.get("rows", _ABSENT)), list | None):
            value = _without_version(value)
        if value.get("type") == "BOOKMARK":
            value = {**value, "object": _bare_bookmark(value["object"])}
        return {self._text("", k): self._value(k, v) for k, v in value.items()}

    def _text(self, key: str, text: str) -> str:
        if key == "resourceVersion":
            return self._version(text)
        if key == "continue" and text:
            return "<token>"
        if key in ("uid", "UID") and text and not self._was_sent(text):
            return self._number("uid", text)
        if key == "cells" and _AGE.fullmatch(text):
            return "<time>"
        text = _UUID.sub(lambda m: self._unless_sent("uid", m[0]), text)
        text = _TIME.sub(lambda m: m[0] if self._was_sent(m[0]) else "<time>", text)
        text = _TOKEN.sub("<token>", text)
        text = _ENDPOINT.sub("<address>", text)
        text = _TOO_OLD.sub(r"\1<rv>\2<rv>\3", text)
        text = _TOO_NEW.sub(r"\1\2\3<rv>", text)
        text = _VERSION_IN_TEXT.sub(lambda m: m[1] + self._known_version(m[2]), text)
        if _IPV4.fullmatch(text):
            text = self._unless_sent("address", text)
        for name, placeholder in self._generated.items():
            text = text.replace(name, placeholder)
        return text

    def _version(self, text: str) -> str:
        if text in ("", "0", _SOME_VERSION):
            return text
        return _SOME_VERSION if self._workload else self._number("rv", text)

    def _known_version(self, text: str) -> str:
        number = self._numbers.get(("rv", text))
        return f"<rv:{number}>" if number else text

    def _learn_names(self, body: Any) -> None:
        """Remember the names that the server made from generateName."""
        if isinstance(body, list):
            for item in body:
                self._learn_names(item)
        if not isinstance(body, dict):
            return
        meta = body.get("metadata")
        if isinstance(meta, dict):
            prefix, name = meta.get("generateName"), meta.get("name")
            if prefix and name and name != prefix and not self._was_sent(name):
                self._generated.setdefault(name, f"{prefix}<suffix:{len(self._generated) + 1}>")
        for value in body.values():
            self._learn_names(value)

    def _unless_sent(self, kind: str, text: str) -> str:
        return text if self._was_sent(text) else self._number(kind, text)

    def _was_sent(self, text: str) -> bool:
        return text in self._sent

    def _number(self, kind: str, text: str) -> str:
        known = sum(1 for other, _ in self._numbers if other == kind)
        number = self._numbers.setdefault((kind, text), known + 1)
        return f"<{kind}:{number}>"


def _without_version(value: Json) -> Json:
    """A collection's version also counts what others wrote meanwhile, so it gets no number."""
    meta = value.get("metadata") or {}
    if meta.get("resourceVersion") in (None, "", "0"):
        return value
    return {**value, "metadata": {**meta, "resourceVersion": _SOME_VERSION}}


def _bare_bookmark(value: Json) -> Json:
    """The same of a bookmark; one in a Table says it in its row, too."""
    rows = [
        {**row, "object": _without_version(row["object"])} if row.get("object") else row
        for row in value.get("rows") or ()
    ]
    return _without_version({**value, "rows": rows} if rows else value)


def _bare_columns(columns: list[Json]) -> list[Json]:
    return [{k: v for k, v in column.items() if k != "description"} for column in columns]


def _are_conflicts(key: str, items: list[Any]) -> bool:
    return key == "causes" and all(c.get("reason") == "FieldManagerConflict" for c in items)


def _cause_order(cause: Json) -> tuple[str, str]:
    return (cause["message"], cause["field"])


def _manager_order(entry: Any) -> tuple[str, ...]:
    if not isinstance(entry, dict):
        return (str(entry),)
    return tuple(
        str(entry.get(key, "")) for key in ("operation", "manager", "subresource", "apiVersion")
    )


def _without_controllers(value: Json) -> Json:
    """``value`` without what workload controllers write to a whole object."""
    meta = value.get("metadata")
    if "spec" not in value or not isinstance(meta, dict) or value.get("kind") == "Scale":
        return value
    kept = {key: item for key, item in value.items() if key != "status"}
    kept["metadata"] = dict(meta)
    if "managedFields" in meta:
        kept["metadata"]["managedFields"] = [
            entry for entry in meta["managedFields"] if entry["manager"] not in _WORKLOAD_MANAGERS
        ]
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if k != _REVISION}
    kept["metadata"].pop("annotations", None)
    if notes:
        kept["metadata"]["annotations"] = notes
    return kept
