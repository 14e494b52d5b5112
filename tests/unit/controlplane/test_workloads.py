"""The stand-in's idea of a Pod's status."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.workloads import FAIL_LABEL, PENDING_LABEL, pod_status

NOW = "2020-01-01T00:00:00Z"


def _pod(*, policy: str = "Always", label: str = "", phase: str = "Pending") -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {label: "1"} if label else {}},
        "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("pod", "phase", "ready"),
    [
        pytest.param(_pod(), "Running", "True", id="server"),
        pytest.param(_pod(label=FAIL_LABEL), "Running", "False", id="server never ready"),
        pytest.param(_pod(policy="Never"), "Succeeded", "False", id="job"),
        pytest.param(_pod(policy="OnFailure", label=FAIL_LABEL), "Failed", "False", id="bad job"),
    ],
)
def test_phase_and_readiness(pod: dict[str, Any], phase: str, ready: str) -> None:
    status = pod_status(pod, now=NOW)

    assert status is not None
    assert status["phase"] == phase
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == ready
    assert status["containerStatuses"][0]["ready"] is (ready == "True")


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(_pod(phase="Running"), id="has it"),
        pytest.param(_pod(label=PENDING_LABEL), id="stays pending"),
    ],
)
def test_nothing_to_write(pod: dict[str, Any]) -> None:
    assert pod_status(pod, now=NOW) is None
