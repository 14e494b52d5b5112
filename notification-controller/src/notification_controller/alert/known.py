"""The Alerts, found by what they are about, and each read once for each of its versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.notification import Alert
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, annotations_of, key_of
from notification_controller.alert.wishes import Wishes, read_wishes
from notification_controller.event.model import InvolvedObject

__all__ = ["KnownAlert", "KnownAlerts"]

_BY_SOURCE = "source"
_SPARE = 100


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """An Alert.

    Attributes:
        obj: as it is in the cluster.
        wishes: what its annotations ask for.

    """

    obj: JsonObject
    alert: Alert
    wishes: Wishes


class KnownAlerts:
    """Looks Alerts up.

    Args:
        store: of all namespaces that are watched.
        log: says which Alert does not have its kind's shape.

    """

    def __init__(self, store: Store, log: Logger) -> None:
        store.add_index(_BY_SOURCE, _sources_of)
        self._store = store
        self._log = log
        self._read: dict[tuple[str, str], KnownAlert | None] = {}

    def about(self, obj: InvolvedObject) -> list[KnownAlert]:
        """Alerts with a source of this kind and namespace."""
        found = self._store.by_index(_BY_SOURCE, _source(obj.kind, obj.namespace))
        return [known for one in found if (known := self._known(one)) is not None]

    def _known(self, obj: JsonObject) -> KnownAlert | None:
        metadata = obj["metadata"]
        version = str(metadata.get("uid")), str(metadata.get("resourceVersion"))
        if version not in self._read:
            if len(self._read) > 2 * len(self._store) + _SPARE:
                self._read.clear()
            self._read[version] = self._decode(obj)
        return self._read[version]

    def _decode(self, obj: JsonObject) -> KnownAlert | None:
        try:
            return KnownAlert(obj, decode(obj, Alert), read_wishes(annotations_of(obj)))
        except InvalidObject as error:
            self._log.error(
                "an Alert does not have its kind's shape", alert=str(key_of(obj)), error=str(error)
            )
            return None


def _sources_of(obj: JsonObject) -> Iterable[str]:
    sources = (obj.get("spec") or {}).get("eventSources") or ()
    own = key_of(obj).namespace
    return [
        _source(str(one.get("kind")), str(one.get("namespace") or own))
        for one in sources
        if isinstance(one, dict)
    ]


def _source(kind: str, namespace: str) -> str:
    return f"{kind}/{namespace}"
