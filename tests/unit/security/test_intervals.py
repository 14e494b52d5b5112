"""Intervals that would keep a worker busy with one object."""

from __future__ import annotations

import pytest

from fluvial.api.codec import decode
from fluvial.api.kustomize import Kustomization
from fluvial.api.source import GitRepository


@pytest.mark.parametrize("interval", ["1ms", "0s", "0.001ms", "199ms"])
def test_short_intervals_count_as_a_fifth_of_a_second(interval: str) -> None:
    spec = {
        "interval": interval,
        "retryInterval": interval,
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "x"},
    }
    kustomization = decode({"metadata": {"name": "x"}, "spec": spec}, Kustomization)
    source = decode(
        {"metadata": {"name": "x"}, "spec": {"interval": interval, "url": "https://x"}},
        GitRepository,
    )

    assert kustomization.spec.interval_seconds == 0.2
    assert kustomization.spec.retry_seconds == 0.2
    assert source.spec.interval_seconds == 0.2
