"""The objects that a call wakes: found, filtered, annotated; nothing else is done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.api.notification import Receiver, ReceiverResource
from fluvial.cel.evaluator import CelEvaluator, Program
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of, split_api_version

__all__ = ["FIELD_MANAGER", "RESOURCES", "Waking", "WakingFailed"]

FIELD_MANAGER = "notification-controller"
_IMAGE = "image.toolkit.fluxcd.io"
_AT_ONCE = 8

RESOURCES: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (
        kinds.BUCKET,
        kinds.GIT_REPOSITORY,
        kinds.KUSTOMIZATION,
        kinds.HELM_RELEASE,
        kinds.HELM_CHART,
        kinds.HELM_REPOSITORY,
        Resource(_IMAGE, "v1", "imagerepositories", "ImageRepository", namespaced=True),
        Resource(_IMAGE, "v1", "imagepolicies", "ImagePolicy", namespaced=True),
        Resource(_IMAGE, "v1", "imageupdateautomations", "ImageUpdateAutomation", namespaced=True),
        kinds.OCI_REPOSITORY,
        kinds.ARTIFACT_GENERATOR,
        kinds.EXTERNAL_ARTIFACT,
    )
}
"""What can be woken, in the version that is served; which one an object names does not matter."""


class WakingFailed(FluvialError):
    """Some of the objects could not be woken; the others were."""


class Waking:
    """Wakes the objects of a Receiver.

    Args:
        client: the controller's own, of every replica: it reads metadata and writes one annotation.
        cel: evaluates filters.
        clock: the time is the request.
        log: says what was woken.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.

    """

    def __init__(
        self,
        client: KubeClient,
        cel: CelEvaluator,
        *,
        clock: Clock,
        log: Logger,
        cross_namespace: bool = True,
    ) -> None:
        self._client = client
        self._cel = cel
        self._clock = clock
        self._log = log
        self._cross_namespace = cross_namespace

    async def wake(
        self, receiver: Receiver, request: Any, claims: Mapping[str, Any] | None
    ) -> list[ObjectKey]:
        """Annotate every object that the Receiver lists and its filters let through.

        Args:
            receiver: that was called.
            request: what expressions see as ``req``.
            claims: of the caller's token, for ``generic-oidc``.

        Returns:
            What was woken.

        Raises:
            WakingFailed: after all others were woken; the message says what went wrong with each.

        """
        data: dict[str, Any] = {"req": request}
        if claims is not None:
            data["claims"] = dict(claims)
        woken: list[ObjectKey] = []
        problems: list[str] = []
        for resource in receiver.spec.resources:
            try:
                found = await self._find(receiver, resource)
                found = await self._filter(receiver, resource, found, data)
                woken += await self._annotate(RESOURCES[resource.kind], found)
            except FluvialError as error:
                problems.append(f"{resource.kind}/{resource.name}: {error}")
        if problems:
            raise WakingFailed("; ".join(problems))
        return woken

    async def _find(self, receiver: Receiver, wanted: ReceiverResource) -> list[JsonObject]:
        resource = RESOURCES[wanted.kind]
        own = receiver.metadata.namespace
        namespace = wanted.namespace or own
        if namespace != own and not self._cross_namespace:
            raise WakingFailed("cross-namespace references have been blocked")
        group, _ = split_api_version(wanted.api_version or resource.api_version)
        if group != resource.group:
            raise WakingFailed(f"the kind is one of {resource.group}, not of {group}")
        if wanted.name != "*":
            key = ObjectKey(namespace, wanted.name)
            try:
                return [await self._client.get(resource, key, metadata_only=True)]
            except NotFound as error:
                raise WakingFailed(f"not found in namespace {namespace!r}") from error
        if not wanted.match_labels:
            raise WakingFailed("matchLabels is needed where the name is *")
        selector = ",".join(f"{name}={value}" for name, value in wanted.match_labels.items())
        page = await self._client.list_all(
            resource, namespace=namespace, label_selector=selector, metadata_only=True
        )
        if not page.items:
            self._log.info("no object has the labels", selector=selector, kind=wanted.kind)
        return list(page.items)

    async def _filter(
        self,
        receiver: Receiver,
        wanted: ReceiverResource,
        found: Sequence[JsonObject],
        data: Mapping[str, Any],
    ) -> list[JsonObject]:
        left = list(found)
        for label, text in (
            ("resourceFilter", receiver.spec.resource_filter),
            ("filter", wanted.filter),
        ):
            if text and left:
                verdicts = await self._cel.decide(
                    Program(label, text),
                    data=data,
                    each=[{"res": _seen(obj)} for obj in left],
                    namespace=receiver.metadata.namespace,
                )
                left = [obj for obj, verdict in zip(left, verdicts, strict=True) if verdict]
        return left

    async def _annotate(self, resource: Resource, objects: Sequence[JsonObject]) -> list[ObjectKey]:
        limit = asyncio.Semaphore(_AT_ONCE)
        stamp = self._clock.now().isoformat()

        async def one(obj: JsonObject) -> str:
            key = key_of(obj)
            body = {"metadata": {"annotations": {RECONCILE_REQUEST: stamp}}}
            try:
                async with limit:
                    await self._client.patch(
                        resource, key, body, patch_type="merge", field_manager=FIELD_MANAGER
                    )
            except FluvialError as error:
                return f"{key}: {error}"
            self._log.info("woken", kind=resource.kind, object=str(key))
            return ""

        problems = [text for text in await asyncio.gather(*map(one, objects)) if text]
        if problems:
            raise WakingFailed("; ".join(problems))
        return [key_of(obj) for obj in objects]


def _seen(obj: JsonObject) -> JsonObject:
    """What expressions see of an object: its metadata, no more."""
    return {name: obj[name] for name in ("apiVersion", "kind", "metadata") if name in obj}
