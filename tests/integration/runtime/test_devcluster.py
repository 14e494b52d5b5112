"""The runtime against devcluster."""

from __future__ import annotations

import pytest

from devcluster import DevCluster
from devcluster_fixtures import devcluster  # noqa: F401 - a fixture
from fluvial.objects import JsonObject

from .scenarios import RuntimeScenarios


class TestDevcluster(RuntimeScenarios):
    @pytest.fixture
    def kubeconfig(self, devcluster: DevCluster) -> JsonObject:  # noqa: F811 - the fixture
        return devcluster.kubeconfig()
