"""Flux's event API: what controllers post, and what providers of type ``generic`` pass on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import field
from msgspec.structs import replace

from fluvial.errors import FluvialError
from fluvial.objects import ObjectKey, split_api_version

__all__ = ["EVENT_GROUP", "Event", "InvalidEvent", "InvolvedObject", "read_event"]

EVENT_GROUP = "event.toolkit.fluxcd.io"
"""Prefix of metadata that is about events in general, not about one kind."""

_COMMIT = re.compile(r"(?:^|[:/@])([0-9a-f]{40})$")
_DROPPED = frozenset({"checksum", "digest"})


class InvalidEvent(FluvialError):
    """What was posted is no event; the message says why."""


class InvolvedObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The object that an event is about; names as on the wire."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = field(default="", name="resourceVersion")
    field_path: str = field(default="", name="fieldPath")

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)

    @property
    def group(self) -> str:
        """The API group."""
        return split_api_version(self.api_version)[0]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to an object.

    Attributes:
        timestamp: RFC 3339, as it was posted.
        metadata: facts for programs.

    """

    involved_object: InvolvedObject = field(name="involvedObject")
    severity: str
    timestamp: str
    message: str
    reason: str
    metadata: dict[str, str] = field(default_factory=dict)
    reporting_controller: str = field(default="", name="reportingController")
    reporting_instance: str = field(default="", name="reportingInstance")

    @property
    def is_error(self) -> bool:
        """Whether it is bad news."""
        return self.severity == "error"

    @property
    def size(self) -> int:
        """Characters of its texts, by which what waits is bounded."""
        facts = sum(len(name) + len(value) for name, value in self.metadata.items())
        return len(self.message) + len(self.reason) + facts

    @property
    def is_commit_status(self) -> bool:
        """Whether it is only for the status of a commit."""
        return self.metadata.get(f"{self.involved_object.group}/commit_status") == "update" or (
            self.metadata.get("commit_status") == "update"
        )

    def fact(self, name: str) -> str:
        """A fact that the controller gave, by its name without prefix, or ``""``."""
        return self.metadata.get(f"{self.involved_object.group}/{name}") or ""

    def named(self, name: str) -> str:
        """A fact about events in general, such as ``commit`` or ``change_request``, or ``""``."""
        return self.metadata.get(f"{EVENT_GROUP}/{name}") or ""

    def with_metadata(self, metadata: Mapping[str, str]) -> Event:
        """The same with other facts."""
        return replace(self, metadata=dict(metadata))

    def saying(self, message: str, metadata: Mapping[str, str]) -> Event:
        """The same in other words, with other facts."""
        return replace(self, message=message, metadata=dict(metadata))

    def cleaned(self) -> Event:
        """With the facts that are meant for others than the controllers themselves."""
        group = self.involved_object.group
        prefixes = (f"{EVENT_GROUP}/", f"{group}/")
        kept = {
            name: value
            for name, value in self.metadata.items()
            if name.startswith(prefixes) and name.removeprefix(prefixes[1]).lower() not in _DROPPED
        }
        return self.with_metadata(kept)

    def without_token(self) -> Event:
        """Without what only tells events apart."""
        token = f"{self.involved_object.group}/token"
        return self.with_metadata({k: v for k, v in self.metadata.items() if k != token})

    def identity(self) -> str:
        """Equal for events that say the same; severity and reason do not count (Flux)."""
        obj = self.involved_object
        parts = ["event", f"name={obj.name}", f"namespace={obj.namespace}", f"kind={obj.kind}"]
        parts.append(f"message={self.message}")
        facts = ((name, self.fact(name)) for name in ("originRevision", "revision", "token"))
        parts += [f"{name}={value}" for name, value in facts if value]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def commit(self) -> str:
        """The commit that it is about: 40 hexadecimal digits, or ``""``."""
        for text in (
            self.named("commit") or self.metadata.get("commit", ""),
            self.fact("originRevision") or self.metadata.get("originRevision", ""),
            self.fact("revision") or self.metadata.get("revision", ""),
        ):
            if text:
                found = _COMMIT.search(text)
                return found[1] if found else ""
        return ""


def read_event(body: bytes) -> Event:
    """What was posted.

    Raises:
        InvalidEvent: it is not JSON, or not of the shape of an event.

    """
    try:
        raw: Any = msgspec.json.decode(body)
        event = msgspec.convert(raw, Event)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidEvent(f"not an event: {error}") from error
    except RecursionError as error:
        raise InvalidEvent("not an event: nested too deeply") from error
    obj = event.involved_object
    if not (obj.kind and obj.name):
        raise InvalidEvent("not an event: involvedObject has no kind or no name")
    return event
