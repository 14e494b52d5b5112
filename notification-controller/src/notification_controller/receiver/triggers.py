"""What wakes a Receiver: its own spec, a request, and the Secret that it names."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.kube import kinds
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.queue import WorkQueue
from fluvial.runtime.triggers import (
    any_of,
    generation_changed,
    is_settled,
    own_key,
    reconcile_requested,
    watch_with,
)

__all__ = ["BY_CONFIG", "BY_PATH", "INDEXES", "connect"]

BY_PATH = "path"
BY_CONFIG = "config"


def _path_of(obj: JsonObject) -> Iterable[str]:
    path = (obj.get("status") or {}).get("webhookPath")
    return (str(path),) if path else ()


def _secret_of(obj: JsonObject) -> Iterable[str]:
    name = ((obj.get("spec") or {}).get("secretRef") or {}).get("name")
    return (str(ObjectKey(key_of(obj).namespace, str(name))),) if name else ()


INDEXES = {BY_PATH: _path_of, BY_CONFIG: _secret_of}


def connect(
    own: Informer,
    informers: InformerFactory,
    queue: WorkQueue[ObjectKey],
    *,
    config_selector: str,
    namespace: str,
) -> None:
    """Wire the triggers.

    Args:
        own: the Receivers, with ``INDEXES``.
        informers: where the one of Secrets comes from.
        queue: what the triggers fill.
        config_selector: label selector of Secrets that are watched, metadata only; ``""`` watches
            none.
        namespace: the only one that is watched; ``""`` for all.

    """
    asked = any_of(generation_changed, reconcile_requested)
    watch_with(own, asked, own_key, queue, settled=is_settled)
    if not config_selector:
        return
    secrets = informers.informer(
        kinds.SECRET, namespace=namespace, label_selector=config_selector, metadata_only=True
    )

    def changed(old: JsonObject | None, new: JsonObject | None) -> bool:
        if old is None or new is None:
            return secrets.synced
        return bool(old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"])

    def named_by(obj: JsonObject) -> list[ObjectKey]:
        return [key_of(one) for one in own.store.by_index(BY_CONFIG, str(key_of(obj)))]

    watch_with(secrets, changed, named_by, queue)
