"""What is remembered of an object, and of which one."""

from __future__ import annotations

import pytest

from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.memory import Memories, ObjectMemory

KEY = ObjectKey("team", "app")


def obj(version: int, uid: str = "u") -> JsonObject:
    return {"metadata": {"name": "app", "resourceVersion": str(version), "uid": uid}}


@pytest.mark.parametrize(
    ("cached", "is_kept", "newest"),
    [
        (obj(7), True, obj(9)),
        (obj(8), True, obj(9)),
        (obj(10), True, obj(10)),
        (obj(5), False, obj(5)),
        (obj(30, "other"), False, obj(30, "other")),
        (obj(3, "other"), False, obj(3, "other")),
    ],
    ids=["same", "behind", "ahead", "restored from a backup", "made anew", "in a new cluster"],
)
def test_what_is_known_is_known_of_one_object_in_one_history(
    cached: JsonObject, *, is_kept: bool, newest: JsonObject
) -> None:
    memories = Memories(ObjectMemory, on_forget=lambda _: None)
    before = memories.of(KEY, obj(7))
    before.latest = obj(9)

    assert memories.newest(KEY, cached) == newest
    assert (memories.of(KEY, cached) is before) is is_kept
