"""The webhook server: takes calls, has them proved, wakes what they concern.

Every answer is empty. What was wrong with a call is in the log, never in the answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import orjson
from aiohttp import web
from multidict import CIMultiDict

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.notification import Receiver
from fluvial.cel.evaluator import CelEvaluator
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.secrets import secret_data
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime import conditions
from fluvial.runtime.metrics import Metrics
from notification_controller.event import expectation
from notification_controller.proof.call import Call, Proof, Refused
from notification_controller.proof.oidc import Issuers
from notification_controller.proof.types import Prover, prove
from notification_controller.receiver.callers import Callers
from notification_controller.receiver.memory import Deliveries, Refusals
from notification_controller.receiver.path import PREFIX, holder_of, webhook_path
from notification_controller.receiver.triggers import BY_PATH
from notification_controller.receiver.waking import Waking, WakingFailed

__all__ = ["ReceiverServer"]

_MAX_BODY = 3 << 20
_BODY_SECONDS = 20.0
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class ReceiverServer:
    """Serves the addresses of all Receivers.

    Attributes:
        client: the controller's own, of every replica: reads the Secrets.
        store: the Receivers, with the index by path.
        waking: wakes objects.
        issuers: verify tokens.
        cel: evaluates conditions.
        deliveries: that were dealt with.
        refusals: to callers.
        callers: tells who calls.

    """

    client: KubeClient
    store: Store
    waking: Waking
    issuers: Issuers
    cel: CelEvaluator
    deliveries: Deliveries
    refusals: Refusals
    log: Logger
    callers: Callers = field(default_factory=Callers)

    def app(self, metrics: Metrics, clock: Clock) -> web.Application:
        """The application, with Flux's metrics of it."""
        seconds = metrics.histogram(
            "gotk_receiver_http_request_duration_seconds",
            "How long calls of webhooks took.",
            ("code", "handler", "method"),
            buckets=_BUCKETS,
        )
        inflight = metrics.gauge(
            "gotk_receiver_http_requests_inflight", "Calls that are being answered.", ("handler",)
        )

        async def handle(request: web.Request) -> web.StreamResponse:
            handler = PREFIX if request.raw_path.startswith(PREFIX) else "/"
            started = clock.monotonic()
            status = 500
            inflight.labels(handler).inc()
            try:
                status = await self._answer(request)
                return web.Response(status=status)
            finally:
                inflight.labels(handler).dec()
                method = request.method if request.method in _METHODS else "other"
                took = clock.monotonic() - started
                seconds.labels(str(status), handler, method).observe(took)

        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", handle, expect_handler=expectation.meet)
        return app

    async def _answer(self, request: web.Request) -> int:
        if (request.content_length or 0) > _MAX_BODY:
            return 413
        path = request.raw_path
        caller = self.callers.of(request.remote or "", request.headers)
        found = self.store.by_index(BY_PATH, path)
        if not found:
            return self._refuse(caller, "", 404)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return 413
        except TimeoutError:
            return 408
        except web.RequestPayloadError:  # malformed chunks
            return self._refuse(caller, path, 400)
        call = Call(CIMultiDict(request.headers), body)
        status = await self._call(holder_of(found), path, call, caller)
        return self._refuse(caller, path, status) if status in _COUNTED else status

    def _refuse(self, caller: str, path: str, status: int) -> int:
        """Count a refusal. Nobody who proves himself comes here, whoever shares his address."""
        share = self.callers.share(caller)
        if self.refusals.too_many(share, path):
            return 429
        self.refusals.add(share, path)
        return status

    async def _call(self, obj: JsonObject, path: str, call: Call, caller: str) -> int:
        log = self.log.bind(receiver=str(key_of(obj)), caller=caller)
        try:
            receiver = decode(obj, Receiver)
        except InvalidObject:
            return 503
        if receiver.spec.suspend or not conditions.is_true(
            receiver.status.conditions, conditions.READY
        ):
            log.info("call refused", reason="the Receiver is suspended or not ready")
            return 503
        try:
            secret = await self._secret(receiver)
            if webhook_path(secret.get("token", b""), key_of(obj)) != path:
                return 404  # the token is another one by now
            proof = await prove(call, Prover(receiver, secret, self.issuers, self.cel))
        except Refused as error:
            log.info("call refused", reason=str(error))
            return 400
        except FluvialError as error:
            log.error("call not answered", error=str(error))
            return 500
        return await self._take(receiver, call, proof, log)

    async def _take(self, receiver: Receiver, call: Call, proof: Proof, log: Logger) -> int:
        wanted = {name.lower() for name in receiver.spec.events}
        if proof.event is not None and wanted and proof.event.lower() not in wanted:
            log.info("event not listed", named=proof.event[:100])
            return 200
        uid = receiver.metadata.uid
        if self.deliveries.seen(uid, proof.delivery):
            log.info("delivery known", delivery=proof.delivery[:100])
            return 200
        try:
            woken = await self.waking.wake(receiver, _request_of(call, proof), proof.claims)
        except WakingFailed as error:
            log.error("not all objects woken", error=str(error))
            return 500
        self.deliveries.add(uid, proof.delivery)
        log.info("call taken", woken=len(woken))
        return 200

    async def _secret(self, receiver: Receiver) -> dict[str, bytes]:
        """The values of the Secret, live: a token that was changed counts at once."""
        reference = receiver.spec.secret_ref
        if reference is None:
            return {}
        key = ObjectKey(receiver.metadata.namespace, reference.name)
        try:
            return secret_data(await self.client.get(kinds.SECRET, key))
        except ValueError as error:
            raise Refused(str(error)) from error


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COUNTED = frozenset({400, 404})


def _request_of(call: Call, proof: Proof) -> object:
    """What expressions see as ``req``: the body where the sender says that it is JSON."""
    if proof.body is not None:
        return proof.body
    if not call.is_json:
        return {}
    try:
        return orjson.loads(call.body)
    except orjson.JSONDecodeError:
        return {}
