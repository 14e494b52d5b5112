"""The same scenarios on both control planes."""

from __future__ import annotations

import pytest

from harness.kustomize import Harness
from harness.main_job import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_on_devcluster(on_devcluster: Harness, scenario: str) -> None:
    await SCENARIOS[scenario](on_devcluster)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_on_the_real_control_plane(on_real: Harness, scenario: str) -> None:
    await SCENARIOS[scenario](on_real)
