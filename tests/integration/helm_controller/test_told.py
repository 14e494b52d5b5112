"""What a HelmRelease's events tell of its hooks and of what was done."""

from __future__ import annotations

import pytest

from harness.team import Team, condition
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_HOOK = """\
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-hook
  annotations:
    helm.sh/hook: pre-install
    helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
    devcluster.fluvial.dev/log: "the answer is {{ .Values.answer }}"
    devcluster.fluvial.dev/health: "{{ .Values.health }}"
spec: {restartPolicy: Never, containers: [{name: c, image: example.com/c:1}]}
"""


@pytest.mark.parametrize(
    ("health", "reason"), [("", "Progressing"), ("fail", "InstallFailed")], ids=["well", "badly"]
)
async def test_what_a_hook_has_written_is_told(devteam: Team, health: str, reason: str) -> None:
    await devteam.chart(app_chart(web="", hook=_HOOK), name="hooked")
    values = {"answer": "42", "health": health}
    await devteam.release(chartRef={"kind": "OCIRepository", "name": "hooked"}, values=values)
    event = await devteam.event(reason, text="pod app-hook, container c:")

    assert event["message"].endswith("\nthe answer is 42")
    assert event["type"] == "Normal"
    if health:
        failed = await devteam.event(reason, text="Last Helm logs:")
        assert "\n\nLast Helm logs:\n\n" in failed["message"]
        assert "running pre-install hook " in failed["message"]
        assert "the answer" not in failed["message"]
        obj = await devteam.failed(reason)
        assert "Last Helm logs" not in condition(obj)["message"]
