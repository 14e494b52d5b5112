"""Servers that the scenarios run against, one a session and worker each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.apiserver.compare import target_of
from conformance.apiserver.runner import Target
from controlplane import fixtures
from controlplane.start import ControlPlane
from controlplane.threads import in_thread
from devcluster import DevCluster, Options

__all__ = ["devcluster_target", "real_target"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin of the real control plane, unless the root conftest has done it."""
    fixtures.register(config)


@pytest.fixture(scope="session")
def devcluster_target() -> Iterator[Target]:
    """A ``devcluster`` in a thread of its own."""
    with in_thread(lambda: DevCluster(Options(control_port=0))) as cluster:
        yield target_of(cluster)


@pytest.fixture(scope="session")
def real_target(real_control_plane: ControlPlane) -> Target:
    """The real control plane."""
    plane = real_control_plane
    return Target(plane.url, plane.admin_token, plane.ssl_context(), plane.compact)
