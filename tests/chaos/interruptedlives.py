"""An install that hangs in a hook, and whose HelmRelease is deleted while its controller is killed."""

from __future__ import annotations

from functools import partial
from typing import Final

from chaos.cases import poll
from chaos.control import When
from chaos.released import CONTROLLER, ReleaseCase
from chaos.world import Kill, World
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from harness.charts import chart

__all__ = ["interrupted_life"]

_PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
_MAP: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
_HANGS: Final = """\
apiVersion: v1
kind: Pod
metadata:
  name: hangs
  annotations:
    helm.sh/hook: post-install
    helm.sh/hook-delete-policy: hook-failed
    devcluster.fluvial.dev/health: never
  labels: {fluvial.dev/stay-pending: "1"}
spec: {restartPolicy: Never, containers: [{name: c, image: example.com/c:1}]}
"""


async def interrupted_life(world: World, *, nth: int, when: When) -> list[str]:
    """Delete it with a kill at the n-th write that follows, if there are so many.

    Returns:
        What there is in the end that should not be.

    """
    case = await ReleaseCase.make(world)
    team = case.team
    archive = chart(templates__a=_MAP, templates__hangs=_HANGS)
    await team.chart(archive, "1.0.0", resource=kinds.HELM_CHART)
    await team.release(chartRef={"kind": "HelmChart", "name": "chart"}, timeout="1h")
    await team.until(lambda _: True, "hangs", resource=_PODS)
    gone = partial(poll, case.is_gone, "the HelmRelease does not go")
    kill = Kill(CONTROLLER, nth, when)
    killed = await world.run_killed(kill, case.uninstall, until=gone, meanwhile=None)
    where = f"write {nth} ({world.kills[-1] if killed else 'did not come'})"
    try:
        await gone()
    except AssertionError as error:
        return [f"{where}: {error}: {await team.statuses()}"]
    left = [
        *(await case.look()).data,
        *(await team.names(_PODS) if when == "after" or nth > 1 else ()),
        *[f"revision {number} {status}" for number, status in (await team.statuses()).items()],
    ]
    await world.client.delete(kinds.NAMESPACE, ObjectKey("", case.name))
    return [f"{where}: {one} is left" for one in left]
