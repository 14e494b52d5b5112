"""The runtime against the real API server."""

from __future__ import annotations

import copy

import pytest

from controlplane.start import ControlPlane
from fluvial.objects import JsonObject

from .scenarios import RuntimeScenarios


@pytest.mark.real
class TestReal(RuntimeScenarios):
    @pytest.fixture
    def kubeconfig(self, real_control_plane: ControlPlane) -> JsonObject:
        return copy.deepcopy(real_control_plane.kubeconfig())
