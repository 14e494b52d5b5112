"""Reading what the containers of a hook have written, as the tenant, within bounds.

Asked for by ``helm.sh/hook-output-log-policy``, and by a test that has failed. A log that cannot
be had is no failure: the hook's own result is what counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from fluvial.apply.model import Target
from fluvial.errors import FluvialError
from fluvial.helm.cluster import Located
from fluvial.helm.steps import HookOutput
from fluvial.kube.errors import ApiError
from fluvial.kube.kinds import POD
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["outputs_of"]

_LINES: Final = 20
_BYTES: Final = 4096
_PODS: Final = 3
_LISTED: Final = 9
_CONTAINERS: Final = 5
_SECONDS: Final = 10.0
_LONGEST_PROBLEM: Final = 200


async def outputs_of(target: Target, hook: str, located: Sequence[Located]) -> list[HookOutput]:
    """The ends of the logs of a hook's pods: its own and those of its Jobs.

    Args:
        target: reads, and knows what to hide.
        hook: what to call it.
        located: the hook's objects.

    Returns:
        One for each of the first containers of the first pods: 20 lines and 4 KiB at most.

    """
    found: list[HookOutput] = []
    try:
        async with asyncio.timeout(_SECONDS):
            for pod in await _pods(target, located):
                for container in _containers(pod):
                    found.append(await _output(target, hook, pod, container))  # noqa: PERF401 - kept when time is up
    except TimeoutError:
        found.append(HookOutput(hook, "", "", "", "the server took too long"))
    except FluvialError as error:
        found.append(HookOutput(hook, "", "", "", _problem(target, error)))
    return found


async def _pods(target: Target, located: Sequence[Located]) -> list[JsonObject]:
    found: list[JsonObject] = []
    for one in located:
        kind = (one.ref.group, one.ref.kind)
        if kind == ("", "Pod"):
            found.append(await target.client.get(POD, one.key))
        elif kind == ("batch", "Job"):
            page = await target.client.list_page(
                POD,
                namespace=one.key.namespace,
                label_selector=f"job-name={one.key.name}",
                limit=_LISTED,
            )
            # Those of an earlier run may still be on their way out.
            found += [pod for pod in page.items if not _is_going(pod)]
    return found[:_PODS]


def _is_going(pod: JsonObject) -> bool:
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def _containers(pod: JsonObject) -> list[str]:
    spec: dict[str, Any] = pod.get("spec") or {}
    listed = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [str(one.get("name")) for one in listed][:_CONTAINERS]


async def _output(target: Target, hook: str, pod: JsonObject, container: str) -> HookOutput:
    metadata = pod.get("metadata") or {}
    key = ObjectKey(str(metadata.get("namespace")), str(metadata.get("name")))
    try:
        text = await target.client.pod_log(
            key, container=container, tail_lines=_LINES, limit_bytes=_BYTES
        )
    except ApiError as error:
        return HookOutput(hook, key.name, container, "", _problem(target, error))
    shown = target.masker.text(_plain(target.masker.text(_whole_lines(text))))
    return HookOutput(hook, key.name, container, shown)


def _whole_lines(text: str) -> str:
    """Without a line that may be cut: of a secret in it, a part would be shown."""
    return text.rpartition("\n")[0] if len(text.encode()) >= _BYTES else text


def _plain(text: str) -> str:
    """Without control characters, which might hide a secret from being found."""
    lines = ("".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines())
    return "\n".join(lines)


def _problem(target: Target, error: FluvialError) -> str:
    return target.masker.text(str(error))[:_LONGEST_PROBLEM]
