"""The way of one Receiver: its expressions are compiled, its token is read, its path is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from fluvial.api.codec import InvalidObject, decode, encode
from fluvial.api.meta import FINALIZER, ConditionStatus
from fluvial.api.notification import Receiver
from fluvial.cel.evaluator import CelEvaluator, ExpressionFailed, Program
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.secrets import secret_data
from fluvial.kube.store import Store
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime import conditions
from fluvial.runtime.conditions import Conditioned
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Ignored, Result, Stalled
from fluvial.runtime.patcher import StatusPatcher
from notification_controller.receiver import reasons
from notification_controller.receiver.path import holder_of, webhook_path
from notification_controller.receiver.triggers import BY_PATH

__all__ = ["ReceiverReconciler"]

_OIDC = "generic-oidc"


@dataclass(frozen=True, slots=True)
class ReceiverReconciler:
    """Reconciles Receivers; ``reconcile`` is what the controller calls.

    Attributes:
        receivers: all, with the index by path.

    """

    client: KubeClient
    patcher: StatusPatcher
    events: EventRecorder
    cel: CelEvaluator
    clock: Clock
    receivers: Store

    async def reconcile(self, key: ObjectKey) -> Result:
        """One run.

        Raises:
            Stalled: the spec is invalid.
            Failed: the token cannot be read, or the path is another's; tried again under backoff.
            Ignored: the object is gone.

        """
        try:
            live = await self.client.get(kinds.RECEIVER, key)
        except NotFound as error:
            raise Ignored from error
        if live["metadata"].get("deletionTimestamp"):
            if FINALIZER in (live["metadata"].get("finalizers") or ()):
                await self.patcher.remove_finalizer(live)  # of another installation
            return Result()
        try:
            receiver = decode(live, Receiver)
        except InvalidObject as error:
            raise Stalled(reasons.VALIDATION_FAILED, str(error)) from error
        run = _Run(self, live, receiver)
        if receiver.spec.suspend:
            await run.save()
            return Result()
        return await run.all_steps()


class _Run(Conditioned):
    """One run: what the status is to become."""

    def __init__(self, tools: ReceiverReconciler, live: JsonObject, receiver: Receiver) -> None:
        self._tools = tools
        self._live = live
        self._receiver = receiver
        self.conditions = list(receiver.status.conditions)
        self._path = receiver.status.webhook_path

    async def all_steps(self) -> Result:
        try:
            _check(self._receiver)
            await self._compile()
            path = webhook_path(await self._token(), key_of(self._live))
            self._claim(path)
        except Stalled as error:
            self._ready("False", error.reason, str(error))
            self.set_condition(conditions.STALLED, "True", error.reason, str(error))
            await self._end("Warning", error.reason, str(error))
            raise
        except Failed as error:
            self._path = ""
            self._ready("False", error.reason, str(error))
            await self._end("Warning", error.reason, str(error))
            raise
        self._path = path
        message = f"Receiver initialized for path: {self._path}"
        was = conditions.get_condition(self.conditions, conditions.READY)
        is_new = was is None or was.status != "True" or was.message != message
        self._ready("True", reasons.SUCCEEDED, message)
        await self._end("Normal" if is_new else "", reasons.SUCCEEDED, message)
        return Result(self._receiver.spec.interval_seconds)

    async def _compile(self) -> None:
        variables = ["req", "res"]
        if self._receiver.spec.type == _OIDC:
            variables.append("claims")
        namespace = self._receiver.metadata.namespace
        try:
            for program in _filters(self._receiver):
                await self._tools.cel.check(program, variables=variables, namespace=namespace)
            for program, boolean in _claims(self._receiver):
                await self._tools.cel.check(
                    program, variables=["claims", "vars"], namespace=namespace, boolean=boolean
                )
        except ExpressionFailed as error:
            raise Stalled(reasons.INVALID_CEL, str(error)) from error

    async def _token(self) -> bytes:
        reference = self._receiver.spec.secret_ref
        if reference is None:
            return b""
        key = ObjectKey(self._receiver.metadata.namespace, reference.name)
        try:
            data = secret_data(await self._tools.client.get(kinds.SECRET, key))
        except NotFound as error:
            raise Failed(reasons.TOKEN_NOT_FOUND, f"Secret '{key}' does not exist") from error
        except (FluvialError, ValueError) as error:
            raise Failed(
                reasons.TOKEN_NOT_FOUND, f"Secret '{key}' cannot be read: {error}"
            ) from error
        token = data.get("token", b"")
        if not token:
            raise Failed(
                reasons.TOKEN_NOT_FOUND, f"Secret '{key}' has no key 'token', or an empty one"
            )
        return token

    def _claim(self, path: str) -> None:
        """Refuse a path that another Receiver has published.

        It would get the other's calls, and its filters could ask what is in them. Whose the other
        is is not said: it may be another tenant's.
        """
        uid = self._live["metadata"]["uid"]
        published = self._tools.receivers.by_index(BY_PATH, path)
        others = [obj for obj in published if obj["metadata"]["uid"] != uid]
        if not others:
            return
        if self._path == path and holder_of([self._live, *others])["metadata"]["uid"] == uid:
            return
        raise Failed(
            reasons.VALIDATION_FAILED,
            "another Receiver has the path that comes of this token, name and namespace:"
            " choose another name or token",
        )

    @property
    def generation(self) -> int:
        """The generation that this run is about."""
        return self._receiver.metadata.generation

    def now(self) -> datetime:
        """Wall time."""
        return self._tools.clock.now()

    def _ready(self, status: ConditionStatus, reason: str, message: str) -> None:
        self.clear(conditions.STALLED, conditions.RECONCILING)
        self.set_condition(conditions.READY, status, reason, message)

    async def _end(self, event: str, reason: str, message: str) -> None:
        await self.save(observed=True)
        if event:
            self._tools.events.event(
                self._live,
                type="Normal" if event == "Normal" else "Warning",
                reason=reason,
                message=message,
            )

    async def save(self, *, observed: bool = False) -> None:
        """Write the status; sends nothing where nothing differs."""
        status = {**(self._live.get("status") or {})}
        status["conditions"] = [encode(item) for item in self.conditions]
        if not self.conditions:
            del status["conditions"]
        status["webhookPath"] = self._path or None
        if observed:
            status["observedGeneration"] = self._receiver.metadata.generation
        request = self._receiver.metadata.reconcile_request
        if request:
            status["lastHandledReconcileAt"] = request
        kept = {name: value for name, value in status.items() if value is not None}
        self._live = await self._tools.patcher.patch(self._live, {**self._live, "status": kept})


def _check(receiver: Receiver) -> None:
    """What the CRD refuses, for objects that were stored before it did, and what it cannot say."""
    spec = receiver.spec
    if (spec.type == _OIDC) == (spec.secret_ref is not None):
        raise Stalled(
            reasons.VALIDATION_FAILED,
            "spec.secretRef is required for every type but generic-oidc, which has none",
        )
    if (spec.type == _OIDC) != bool(spec.oidc_providers):
        raise Stalled(
            reasons.VALIDATION_FAILED,
            "spec.oidcProviders is required for the type generic-oidc, and for no other",
        )
    for at, provider in enumerate(spec.oidc_providers):
        where = f"spec.oidcProviders[{at}]"
        if not provider.issuer_url.startswith("https://"):
            raise Stalled(
                reasons.VALIDATION_FAILED,
                f"{where}.issuerURL must begin with https://: keys that come over http prove nothing",
            )
        if not provider.validations:
            raise Stalled(reasons.VALIDATION_FAILED, f"{where}.validations must not be empty")
    issuers = [provider.issuer_url for provider in spec.oidc_providers]
    if len(set(issuers)) != len(issuers):
        raise Stalled(reasons.VALIDATION_FAILED, "spec.oidcProviders names an issuer twice")


def _filters(receiver: Receiver) -> Iterator[Program]:
    if receiver.spec.resource_filter:
        yield Program("spec.resourceFilter", receiver.spec.resource_filter)
    for at, resource in enumerate(receiver.spec.resources):
        if resource.filter:
            yield Program(f"spec.resources[{at}].filter", resource.filter)


def _claims(receiver: Receiver) -> Iterator[tuple[Program, bool]]:
    """Expressions over claims, and whether they must be true or false."""
    for at, provider in enumerate(receiver.spec.oidc_providers):
        where = f"spec.oidcProviders[{at}]"
        for number, variable in enumerate(provider.variables):
            yield Program(f"{where}.variables[{number}].expression", variable.expression), False
        for number, validation in enumerate(provider.validations):
            yield Program(f"{where}.validations[{number}].expression", validation.expression), True
