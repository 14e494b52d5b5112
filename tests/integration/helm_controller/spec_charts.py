"""Templates for tests of single fields: many releases share a namespace, so names are theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from fluvial.objects import JsonObject
from integration.helm_controller.release_charts import hook, web

__all__ = ["ALERT", "BROKEN", "NAME", "STUCK", "WEB", "all_of", "failing", "only"]

NAME: Final = "{{ .Release.Name }}"
WEB: Final = web(NAME)
_MARKED: Final = (
    'metadata: {name: {{ .Release.Name }}, annotations: {devcluster.fluvial.dev/health: "never"}}'
)
STUCK: Final = WEB.replace("metadata: {name: {{ .Release.Name }}}", _MARKED, 1)
"""A Deployment that never gets ready."""

ALERT: Final = """\
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: {{ .Release.Name }}}
spec:
  providerRef: {name: any}
  eventSources: [{kind: HelmRelease, name: any}]
"""
BROKEN: Final = f"{ALERT}  replikas: 2\n"
"""An object with a field that its kind has not."""


def failing(event: str) -> str:
    """A hook that fails."""
    return hook(f"{NAME}-{event.replace(',', '-')}", event, fails=True)


def only(**files: str) -> dict[str, str]:
    """Templates of a chart without those that ``app_chart`` has of itself."""
    return {"web": "", **files}


async def all_of(*waits: Awaitable[JsonObject]) -> list[JsonObject]:
    """Objects that are waited for at the same time."""
    return list(await asyncio.gather(*waits))
