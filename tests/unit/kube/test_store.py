"""What a store tells about the difference between what it has and what it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.kube.store import Change, ObjectMutated, Store
from fluvial.objects import JsonObject, ObjectKey, key_of


def obj(name: str, version: int = 1, *, uid: str = "u", app: str = "") -> JsonObject:
    metadata: dict[str, Any] = {
        "namespace": "ns",
        "name": name,
        "uid": f"{uid}-{name}",
        "resourceVersion": str(version),
    }
    return {"metadata": metadata, "app": app}


def by_app(each: JsonObject) -> Iterable[str]:
    return [each["app"]] if each["app"] else []


def test_what_vanished_unseen_is_deleted_with_its_last_state() -> None:
    store = Store()
    old = obj("a")
    store.replace([old, obj("b")])

    assert store.replace([obj("b")]) == [Change(old, None)]
    assert store.get(ObjectKey("ns", "a")) is None


def test_the_same_version_is_no_change() -> None:
    store = Store()
    store.put(obj("a", 1))

    assert store.put(obj("a", 1)) == []
    assert store.replace([obj("a", 1)]) == []


def test_an_object_made_again_is_a_deletion_and_an_addition() -> None:
    store = Store()
    first, second = obj("a", 1, uid="x"), obj("a", 9, uid="y")
    store.put(first)

    assert store.put(second) == [Change(first, None), Change(None, second)]


def test_a_deletion_tells_the_state_that_the_server_told() -> None:
    store = Store()
    store.put(obj("a", 1))
    last = obj("a", 2)

    assert store.remove(last) == [Change(last, None)]
    assert store.remove(last) == []


def test_indexes_follow_changes() -> None:
    store = Store({"app": by_app})
    store.replace([obj("a", app="x"), obj("b", app="x"), obj("c")])
    store.put(obj("a", 2, app="y"))
    store.remove(obj("b"))

    assert store.by_index("app", "x") == []
    assert [key_of(each).name for each in store.by_index("app", "y")] == ["a"]
    with pytest.raises(KeyError):
        store.by_index("none", "x")


def test_an_index_may_come_later_but_not_under_a_taken_name() -> None:
    store = Store()
    store.put(obj("a", app="x"))
    store.add_index("app", by_app)
    store.add_index("app", by_app)

    assert len(store.by_index("app", "x")) == 1
    with pytest.raises(ValueError, match="another function"):
        store.add_index("app", lambda _: [])


def test_a_change_in_place_is_found_out() -> None:
    store = Store(verify=True)
    store.put(obj("a"))
    store.list()[0]["app"] = "changed"

    with pytest.raises(ObjectMutated, match="ns/a"):
        store.get(ObjectKey("ns", "a"))
    with pytest.raises(ObjectMutated):
        store.verify()


STEP = st.tuples(
    st.sampled_from(["put", "remove", "replace"]),
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.sampled_from("xy")), max_size=3
    ),
)


@given(st.lists(STEP, max_size=8))
def test_whoever_follows_the_changes_has_what_the_store_has(steps: list[Any]) -> None:
    store = Store({"app": by_app}, verify=True)
    mirror: dict[ObjectKey, JsonObject] = {}
    for verb, items in steps:
        objects = [obj(name, version, uid=uid, app=uid) for name, version, uid in items]
        if verb == "replace":
            changes = store.replace(objects)
        else:
            changes = [change for each in objects for change in getattr(store, verb)(each)]
        for change in changes:
            assert (change.old is None) or (key_of(change.old) in mirror)
            if change.new is None:
                assert change.old is not None
                del mirror[key_of(change.old)]
            else:
                mirror[key_of(change.new)] = change.new

    store.verify()
    assert mirror == {key_of(each): each for each in store.list()}
    for app in "xy":
        wanted = {key for key, each in mirror.items() if each["app"] == app}
        assert {key_of(each) for each in store.by_index("app", app)} == wanted
