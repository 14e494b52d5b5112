"""The load harness from end to end, small: what it counts is what was done."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bench.load.controllers import CONTROLLERS
from bench.load.floorlist import FLOOR, per_object
from bench.load.phases import PHASES, Scale
from bench.load.results import PhaseResult
from bench.load.run import RunOptions, run

CRDS = Path(__file__).resolve().parents[2] / "charts" / "fluvial" / "crds"
KINDS = ("deployments", "ingresses", "serviceaccounts", "services")
N = 3


def as_peers(folder: Path) -> str:
    """Our own controllers, as somebody else's are given: by a file, with their own CRDs."""
    data = yaml.safe_load((CONTROLLERS / "fluvial.yaml").read_text())
    data |= {"name": "peers", "crds": str(CRDS), "notes": ["as somebody else's"]}
    file = folder / "peers.yaml"
    file.write_text(yaml.safe_dump(data))
    return str(file)


def asked(phase: PhaseResult, verb: str, resource: str) -> tuple[int, set[bool]]:
    """How often, and whether as the tenant."""
    found = [one for one in phase.requests if (one.verb, one.resource) == (verb, resource)]
    return sum(one.count for one in found), {one.tenant for one in found}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_other_controllers_are_measured_phase_by_phase(tmp_path: Path) -> None:
    result = await run(
        RunOptions(
            workload="kustomizations",
            plane="devcluster",
            controllers=as_peers(tmp_path),
            scale=Scale(count=N, timed=2, drifted=2, interval=2, timeout=60),
        )
    )

    assert [(one.phase, one.failures) for one in result.phases] == [
        (name, ()) for name in PHASES if name != "upgrades"
    ]
    assert result.controllers == "peers"
    assert "as somebody else's" in result.notes
    phases = {one.phase: one for one in result.phases}
    install = phases["install"]
    assert install.latency["Kustomization"].count == install.latency["OCIRepository"].count == N
    for kind in KINDS:
        assert asked(install, "apply", kind) == (N, {True})
        assert asked(install, "dry-run", kind) == (N, {True})
        assert asked(phases["uninstall"], "delete", kind) == (N, {True})
    assert asked(phases["upgrade"], "apply", "deployments") == (N, {True})
    assert asked(phases["upgrade"], "dry-run", "deployments")[0] == 0
    assert asked(phases["no-op"], "patch", "kustomizations/status")[0] == 0
    assert phases["drift"].latency["Deployment"].count == 2
    assert {one.name for one in install.uses} >= {"kustomize-controller", "control plane"}
    assert all(one.peak_mib > 0 for one in install.uses)
    assert set(install.lag) == {"kustomize-controller", "source-controller"}

    counts = {"drift": 2}
    assert {one.phase: one.requests for one in result.floor} == {
        phase: per_object(phase) * counts.get(phase, N) for phase in FLOOR if FLOOR[phase]
    }
