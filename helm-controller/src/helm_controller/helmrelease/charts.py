"""The HelmChart that is made for a HelmRelease with a chart template, and taken away again.

It is the controller's own object, so it is written under the controller's own identity. Its name
is made of two names, so that of another HelmRelease may be the same, and a status may have been
written by anybody: what is not labelled as this object's is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fluvial.api.helm import ChartTemplate
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, annotations_of, labels_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Stalled
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.references import chart_key
from helm_controller.helmrelease.run import FIELD_MANAGER, Run, StatusWriter

__all__ = ["ChartObjects"]

_NOT_OURS: Final = frozenset({"suspend"})
"""Fields of a HelmChart's spec that a template does not have: whoever sets them keeps them."""


@dataclass(frozen=True, slots=True)
class ChartObjects:
    """Keeps HelmCharts.

    Attributes:
        client: the controller's own identity.
        peek: a HelmChart as the cache has it, ``None`` if it has not.
        cross_namespace: sources in other namespaces may be named.

    """

    client: KubeClient
    writer: StatusWriter
    events: EventRecorder
    peek: Callable[[ObjectKey], JsonObject | None]
    cross_namespace: bool = True

    async def ensure(self, run: Run) -> JsonObject | None:
        """Have the HelmChart that the object asks for, and no other one.

        Returns:
            The HelmChart as the API server has it, where it was asked; else ``None``.

        Raises:
            Stalled: AccessDenied, for a source in another namespace where that is blocked.
            Failed: HelmChartSyncErr; it could not be read or written.

        """
        wanted = chart_key(run.spec_of)
        if wanted is not None and wanted.namespace != run.key.namespace:
            self._check_allowed(wanted)
        before = _made_before(run)
        if before is not None and before != wanted:
            await self._delete(run, before)
            run.status.helm_chart = ""
        if wanted is None:
            return None
        run.status.helm_chart = str(wanted)
        if before != wanted:
            # Said before it is done: what is made must never be forgotten.
            await self.writer.save(run)
        return await self._make(run, wanted)

    async def remove(self, run: Run) -> None:
        """Delete the HelmChart; raises Failed, HelmChartSyncErr."""
        before = _made_before(run)
        if before is not None:
            await self._delete(run, before)
            run.status.helm_chart = ""

    def _check_allowed(self, key: ObjectKey) -> None:
        if not self.cross_namespace:
            raise Stalled(
                reasons.ACCESS_DENIED,
                f"can't create 'HelmChart/{key}', cross-namespace references have been blocked",
            )

    async def _make(self, run: Run, key: ObjectKey) -> JsonObject | None:
        desired = _desired(run, key)
        # A cache that is behind is found out before anything is written (``confirming``), or by the
        # HelmChart's next change, which wakes this object.
        if not run.fresh and _covers(self.peek(key), desired):
            return None
        try:
            live = await self._live(key)
            if live is not None:
                _check_owner(run, live, key)
            if _covers(live, desired):
                return live
            made = await self.client.apply(
                kinds.HELM_CHART, key, desired, field_manager=FIELD_MANAGER, force=True
            )
        except (ApiError, UnsafeName) as error:
            raise self._failed(run, key, error) from error
        source = run.spec_of.spec.chart.spec.source_ref if run.spec_of.spec.chart else None
        self._report(
            run,
            reasons.HELM_CHART_CREATED if live is None else reasons.HELM_CHART_CONFIGURED,
            f"{'Created' if live is None else 'Configured'} HelmChart/{key} with SourceRef"
            f" '{source.kind if source else ''}/{key.namespace}/{source.name if source else ''}'",
        )
        return made

    async def _live(self, key: ObjectKey) -> JsonObject | None:
        try:
            return await self.client.get(kinds.HELM_CHART, key)
        except NotFound as error:
            if error.is_resource:
                raise
            return None

    async def _delete(self, run: Run, key: ObjectKey) -> None:
        try:
            live = await self._live(key)
            if live is None or not _is_ours(run, live):
                return
            await self.client.delete(kinds.HELM_CHART, key, uid=live["metadata"]["uid"])
        except NotFound:
            return
        except (ApiError, UnsafeName) as error:
            raise self._failed(run, key, error) from error
        self._report(run, reasons.HELM_CHART_DELETED, f"Deleted HelmChart/{key}")

    def _failed(self, run: Run, key: ObjectKey, error: Exception) -> Failed:
        message = f"HelmChart/{key} cannot be reconciled: {error}"
        self._report(run, reasons.HELM_CHART_SYNC_ERROR, message)
        return Failed(reasons.HELM_CHART_SYNC_ERROR, message)

    def _report(self, run: Run, reason: str, message: str) -> None:
        self.events.event(
            run.obj, type="Trace", reason=reason, message=message, metadata=run.event_metadata()
        )


def _made_before(run: Run) -> ObjectKey | None:
    """The HelmChart that was made for the object, or may have been by a run that was killed.

    The first run of all makes it before it has written any status, in the object's own namespace.
    """
    status = run.status
    if status.helm_chart or status.conditions:
        return _parse(status.helm_chart)
    own = run.key
    return ObjectKey(own.namespace, f"{own.namespace}-{own.name}")


def _parse(text: str) -> ObjectKey | None:
    namespace, slash, name = text.partition("/")
    return ObjectKey(namespace, name) if slash and namespace and name else None


def _is_ours(run: Run, live: JsonObject) -> bool:
    """Whether a HelmChart says that it is of this object."""
    return run.owner.labels.items() <= labels_of(live).items()


def _is_nobodys(run: Run, live: JsonObject) -> bool:
    """Whether a HelmChart in the object's own namespace names no owner, so that it can be taken."""
    here = live["metadata"]["namespace"] == run.key.namespace
    return here and not run.owner.labels.keys() & labels_of(live).keys()


def _check_owner(run: Run, live: JsonObject, key: ObjectKey) -> None:
    if not _is_ours(run, live) and not _is_nobodys(run, live):
        raise Failed(
            reasons.HELM_CHART_SYNC_ERROR,
            f"HelmChart/{key} belongs to another HelmRelease, of which namespace and name together"
            " are the same, or to nobody that it names: rename one of the two",
        )


def _desired(run: Run, key: ObjectKey) -> JsonObject:
    template = run.spec_of.spec.chart
    assert template is not None  # noqa: S101  # there is a key only where there is a template
    given = template.metadata
    metadata: dict[str, Any] = {
        "name": key.name,
        "namespace": key.namespace,
        "labels": {**(given.labels if given else {}), **run.owner.labels},
    }
    if given and given.annotations:
        metadata["annotations"] = dict(given.annotations)
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "metadata": metadata,
        "spec": _spec(template, run.spec_of.spec.interval),
    }


def _spec(template: ChartTemplate, interval: str) -> dict[str, Any]:
    said = template.spec
    spec: dict[str, Any] = {
        "chart": said.chart,
        "interval": said.interval or interval,
        "reconcileStrategy": said.reconcile_strategy,
        "sourceRef": {"kind": said.source_ref.kind, "name": said.source_ref.name},
        "version": said.version,
    }
    if said.values_files:
        spec["valuesFiles"] = list(said.values_files)
    if said.ignore_missing_values_files:
        spec["ignoreMissingValuesFiles"] = True
    if said.verify is not None:
        spec["verify"] = {"provider": said.verify.provider}
        if said.verify.secret_ref is not None:
            spec["verify"]["secretRef"] = {"name": said.verify.secret_ref.name}
    return spec


def _covers(live: JsonObject | None, desired: JsonObject) -> bool:
    """Whether what is there is what is wanted."""
    if live is None:
        return False
    spec = {key: value for key, value in (live.get("spec") or {}).items() if key not in _NOT_OURS}
    wanted = desired["metadata"]
    return bool(
        spec == desired["spec"]
        and labels_of(live).items() >= wanted["labels"].items()
        and annotations_of(live).items() >= wanted.get("annotations", {}).items()
    )
