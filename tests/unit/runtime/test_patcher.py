"""Merge patches, and giving up when somebody else writes all the time."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluvial.api.kustomize import KustomizationStatus
from fluvial.clock import RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import Conflict
from fluvial.kube.kinds import KUSTOMIZATION
from fluvial.objects import JsonObject
from fluvial.runtime.patcher import StatusPatcher, apply_merge, merge_patch, with_status


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2}, {"a": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, {"a": {"y": 3}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}),
        ({"a": {"x": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": False}, {"a": 0.5}, {"a": 0.5}),
    ],
)
def test_the_smallest_merge_patch(before: JsonObject, after: JsonObject, patch: JsonObject) -> None:
    assert merge_patch(before, after) == patch


_SCALARS = st.one_of(st.booleans(), st.integers(0, 3), st.text("ab", max_size=2))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("xyz", max_size=1), inner),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(st.text("abc", max_size=1), _VALUES, max_size=4)


@settings(max_examples=30)
@given(_OBJECTS, _OBJECTS)
def test_a_patch_makes_one_object_of_the_other(before: JsonObject, after: JsonObject) -> None:
    assert apply_merge(before, merge_patch(before, after)) == after


def test_a_status_takes_the_place_of_what_its_model_knows() -> None:
    """What a later version, or somebody else, has written there stays."""
    obj = make(1)
    obj["status"] |= {"lastAppliedRevision": "old", "observedGeneration": 1}
    after = with_status(obj, KustomizationStatus(observed_generation=2))

    assert after["status"] == {"other": 1, "observedGeneration": 2}
    assert obj["status"]["observedGeneration"] == 1


class Contended:
    """An API server where somebody else writes before each of our writes."""

    def __init__(self) -> None:
        self.version = 1
        self.patches = 0

    async def get(self, *_: Any, **__: Any) -> JsonObject:
        self.version += 1
        return make(self.version)

    async def patch(self, *_: Any, **__: Any) -> JsonObject:
        self.patches += 1
        raise Conflict("the object has been modified", status=409)


def make(version: int) -> JsonObject:
    metadata = {"namespace": "ns", "name": "a", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"other": version}}


@pytest.mark.looptime
async def test_after_five_conflicts_it_gives_up() -> None:
    server, clock = Contended(), RealClock()
    patcher = StatusPatcher(
        cast("KubeClient", server),
        KUSTOMIZATION,
        field_manager="m",
        owned=frozenset(),
        clock=clock,
    )
    after = make(1)
    after["status"]["ours"] = 1
    start = clock.monotonic()
    with pytest.raises(Conflict):
        await patcher.patch(make(1), after)

    assert server.patches == 5
    assert 0.3 <= clock.monotonic() - start <= 0.6  # three pauses of 100 to 200 ms
