"""The plugin of the real control plane."""

from __future__ import annotations

import pytest

from controlplane import fixtures


def pytest_configure(config: pytest.Config) -> None:
    """Register it, unless the root conftest has done so."""
    fixtures.register(config)
