"""Query parameters: parsed once, refused as the API server refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from devcluster import errors
from devcluster.fields.gotext import go_quote
from devcluster.request import truth
from devcluster.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels

__all__ = ["ListOptions", "check_write", "dry_run_causes", "invalid_options"]

_MAX_MANAGER = 128
Cause = dict[str, str]


def _cause(field: str, reason: str, message: str) -> Cause:
    return {"reason": f"FieldValue{reason}", "message": message, "field": field}


def invalid_options(kind: str, causes: list[Cause]) -> errors.ApiFailure:
    """422 about ``CreateOptions`` and the like."""
    return errors.invalid(group="meta.k8s.io", kind=kind, name="", causes=causes)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """``metav1.ListOptions``; ``timeout`` in seconds."""

    labels: LabelSelector
    fields: FieldSelector
    limit: int = 0
    token: str = ""
    resource_version: str = ""
    match: str = ""
    timeout: float | None = None
    bookmarks: bool = False
    initial_events: bool | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str], *, watch: bool = False) -> ListOptions:
        """From the query; 400 for what cannot be read, 422 for what does not fit together."""
        initial = query.get("sendInitialEvents")
        options = cls(
            labels=parse_labels(query.get("labelSelector", "")),
            fields=parse_fields(query.get("fieldSelector", "")),
            limit=_number(query, "limit"),
            token=query.get("continue", ""),
            resource_version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            timeout=_number(query, "timeoutSeconds") or None,
            bookmarks=truth(query.get("allowWatchBookmarks")),
            initial_events=None if initial is None else truth(initial),
        )
        unsaid = options.initial_events is None and not options.match
        if watch and unsaid and options.resource_version in {"", "0"}:
            # A watch without a version has always begun with what is there.
            options = replace(options, initial_events=True, match="NotOlderThan")
        causes = options.watch_causes() if watch else options.list_causes()
        if causes:
            raise invalid_options("ListOptions", causes)
        return options

    def only(self, name: str) -> ListOptions:
        """The same, for one object (the old form of watch paths)."""
        terms = (*self.fields.terms, ("metadata.name", True, name))
        return replace(self, fields=FieldSelector(terms))

    def list_causes(self) -> list[Cause]:
        """What does not fit together in a list."""
        causes: list[Cause] = []
        match = self.match
        if match:
            if not self.resource_version:
                text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
                causes.append(_cause("resourceVersionMatch", "Forbidden", text))
            if self.token:
                text = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
                causes.append(_cause("resourceVersionMatch", "Forbidden", text))
            if match not in {"Exact", "NotOlderThan"}:
                text = (
                    f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
                )
                causes.append(_cause("resourceVersionMatch", "NotSupported", text))
            if match == "Exact" and self.resource_version == "0":
                text = (
                    'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
                causes.append(_cause("resourceVersionMatch", "Forbidden", text))
        if self.initial_events is not None:
            text = "Forbidden: sendInitialEvents is forbidden for list"
            causes.append(_cause("sendInitialEvents", "Forbidden", text))
        return causes

    def watch_causes(self) -> list[Cause]:
        """What does not fit together in a watch."""
        causes: list[Cause] = []
        match, field = self.match, "resourceVersionMatch"
        if self.initial_events is not None and match != "NotOlderThan":
            text = (
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
            causes.append(_cause(field, "Forbidden", text))
        if match:
            if self.initial_events is None:
                text = (
                    "Forbidden: resourceVersionMatch is forbidden for watch unless"
                    " sendInitialEvents is provided"
                )
                causes.append(_cause(field, "Forbidden", text))
            if match != "NotOlderThan":
                text = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
                causes.append(_cause(field, "NotSupported", text))
            if self.token:
                text = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
                causes.append(_cause(field, "Forbidden", text))
        return causes


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    try:
        return int(text or 0)
    except ValueError as error:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def dry_run_causes(given: list[str]) -> list[Cause]:
    """What is wrong with the words of ``dryRun``."""
    if all(word == "All" for word in given):
        return []
    text = f'Unsupported value: {orjson.dumps(given).decode()}: supported values: "All"'
    return [_cause("dryRun", "NotSupported", text)]


def check_write(kind: str, query: Mapping[str, str], *, apply: bool = False) -> None:
    """Refuse bad options of a write with 422; ``kind`` is CreateOptions and the like."""
    causes: list[Cause] = []
    if apply and not query.get("fieldManager"):
        text = "Required value: is required for apply patch"
        causes.append(_cause("fieldManager", "Required", text))
    if kind == "PatchOptions" and not apply and "force" in query:
        text = "Forbidden: may not be specified for non-apply patch"
        causes.append(_cause("force", "Forbidden", text))
    manager = query.get("fieldManager", "")
    if len(manager.encode()) > _MAX_MANAGER:
        text = f"Too long: may not be more than {_MAX_MANAGER} bytes"
        causes.append(_cause("fieldManager", "TooLong", text))
    elif not manager.isprintable():
        at = next(at for at, sign in enumerate(manager) if not sign.isprintable())
        why = f"invalid character U+{ord(manager[at]):04X} (at position {at})"
        text = f"Invalid value: {go_quote(manager)}: {why}"
        causes.append(_cause("fieldManager", "Invalid", text))
    causes += dry_run_causes([query["dryRun"]] if "dryRun" in query else [])
    mode = query.get("fieldValidation", "")
    if mode not in {"", "Ignore", "Strict", "Warn"}:
        text = f'Unsupported value: "{mode}": supported values: "", "Ignore", "Strict", "Warn"'
        causes.append(_cause("fieldValidation", "NotSupported", text))
    if causes:
        raise invalid_options(kind, causes)
