"""Services that answer a Provider from a table, and messages for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, Reply, SendFailed
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import tell

__all__ = ["COMMIT", "Talk", "about"]

COMMIT = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
PROVIDER = "0c9c2e41-d2f9-4f9b-9064-bebdc1d0f5c9"


class Talk:
    """Gives answers by method and address; whatever else is asked is a mistake.

    Attributes:
        answers: from ``<method> <address>`` to a document, or to a status.
        sent: the requests that were made.

    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.sent: list[Outgoing] = []

    async def exchange(self, request: Outgoing) -> Reply:
        """Answer."""
        self.sent.append(request)
        asked = f"{request.method} {request.url}"
        assert asked in self.answers, f"nobody answers {asked}"
        answer = self.answers[asked]
        status, document = (answer, None) if isinstance(answer, int) else (200, answer)
        if status >= 400 and not (status == 404 and request.absent):
            raise SendFailed(f"the service answers {status}: ", again=status >= 500)
        reply = Reply(status, b"" if document is None else orjson.dumps(document))
        problem = request.problem(reply)
        if problem:
            raise SendFailed(problem, again=False)
        return reply

    async def tell(self, message: Message, type_: str, **fields: Any) -> list[tuple[str, str, Any]]:
        """Tell a message; method, address and document of each request."""
        given = {"address": "https://git.example.com/org/app", "token": "s3cr3t"} | fields
        await tell(message, Settings(type=type_, **given), self.exchange)
        return [
            (one.method, str(one.url), orjson.loads(one.body) if one.body else None)
            for one in self.sent
        ]


def about(reason: str = "ReconciliationSucceeded", *, error: bool = False, **more: str) -> Message:
    """A message about a commit; ``commit=""`` for one about none."""
    facts = {"revision": f"main@sha1:{COMMIT}"} | more
    if facts.get("commit") == "":
        facts = {}
    event = Event(
        involved_object=InvolvedObject(
            api_version="kustomize.toolkit.fluxcd.io/v1",
            kind="Kustomization",
            name="Shop",
            namespace="team",
            uid="7d0cdc51",
        ),
        severity="error" if error else "info",
        timestamp="2026-11-23T10:00:00Z",
        message="Applied revision @everyone\n```",
        reason=reason,
        metadata=facts,
        reporting_controller="kustomize-controller",
    )
    return Message(event, alert="a1", provider=PROVIDER)
