"""The two control planes, one a session and worker each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.clients.plane import Plane, of_devcluster, of_real
from controlplane import fixtures
from controlplane.start import ControlPlane
from controlplane.threads import in_thread
from devcluster import DevCluster

__all__ = ["devcluster_plane", "real_plane"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin of the real control plane, unless the root conftest has done it."""
    fixtures.register(config)


@pytest.fixture(scope="session")
def devcluster_plane() -> Iterator[Plane]:
    """A ``devcluster`` in a thread of its own."""
    with in_thread(DevCluster) as cluster:
        yield of_devcluster(cluster)


@pytest.fixture(scope="session")
def real_plane(real_control_plane: ControlPlane) -> Plane:
    """The real control plane."""
    return of_real(real_control_plane)
