"""The controller against either control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.start import ControlPlane
from harness.kustomize import Harness


@pytest.fixture
async def on_devcluster(tmp_path: Path) -> AsyncIterator[Harness]:
    """A tenant and the controller on devcluster."""
    async with Harness.start(tmp_path) as harness:
        await harness.tenant()
        yield harness


@pytest.fixture
async def on_real(tmp_path: Path, real_control_plane: ControlPlane) -> AsyncIterator[Harness]:
    """A tenant and the controller on the real control plane."""
    async with Harness.start(tmp_path, kubeconfig=real_control_plane.kubeconfig()) as harness:
        await harness.tenant()
        yield harness
