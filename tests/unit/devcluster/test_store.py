"""Storage: revisions, history, lists of the past, compaction."""

from __future__ import annotations

import asyncio
from typing import Any

from devcluster.store import Store, Table


def _object(name: str, *, uid: str = "", **extra: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "uid": uid or f"u-{name}"}
    return {"metadata": meta, **extra}


def _filled(count: int = 3, **limits: int) -> tuple[Store, Table]:
    store = Store(**limits)
    table = store.table(("", "configmaps"))
    for number in range(count):
        store.put(table, _object(f"o{number}"))
    return store, table


def test_every_write_has_its_own_revision_and_rows_come_in_key_order() -> None:
    store, table = _filled(0)
    for name in ("b", "a-b", "a"):
        store.put(table, _object(name))
    store.put(store.table(("", "secrets")), _object("s"))

    assert [row.name for row in table.rows("n")] == ["a", "a-b", "b"]
    assert sorted(row.revision for row in table.rows()) == [2, 3, 4]
    assert store.revision == 5


def test_stored_form_begins_with_metadata_and_has_no_kind() -> None:
    store, table = _filled(0)
    row = store.put(table, {"kind": "ConfigMap", "data": {"k": "v"}, **_object("a")})

    assert row.body == b'{"metadata":' + row.metadata + b',"data":{"k":"v"}}'
    assert row.decode()["metadata"]["resourceVersion"] == str(row.revision)


def test_past_state_is_rebuilt_from_history() -> None:
    store, table = _filled(2)
    before = store.revision
    store.put(table, _object("o0", data={"k": "changed"}))
    store.delete(table, _object("o1"))
    store.put(table, _object("o9"))
    past = table.as_of(before)

    assert sorted(past) == ["n/o0", "n/o1"]
    assert "data" not in past["n/o0"].decode()
    assert sorted(table.by_key) == ["n/o0", "n/o9"]


def test_history_is_bounded_over_all_tables() -> None:
    store, table = _filled(5, max_changes=3)
    start = table.position_after(store.compacted)

    assert len(table.history) == 3
    assert store.compacted == 3
    assert table.since(0, limit=9) is None
    assert [change.row.name for change in table.since(start, limit=9) or ()] == ["o2", "o3", "o4"]


def test_history_is_bounded_by_the_bytes_of_replaced_objects() -> None:
    store, table = _filled(1, max_bytes=2_000)
    for _ in range(10):
        store.put(table, _object("o0", data={"k": "x" * 600}))

    assert 1 <= len(table.history) <= 4


def test_positions_give_exactly_the_changes_after_them() -> None:
    store, table = _filled(2)
    position = table.end
    store.put(table, _object("late"))

    assert [change.row.name for change in table.since(position, limit=9) or ()] == ["late"]
    assert table.since(table.end, limit=9) == []
    assert table.position_after(store.revision) == table.end


def test_changes_come_in_batches_that_leave_nothing_out() -> None:
    _, table = _filled(7)
    position, seen = table.base, list[str]()
    while changes := table.since(position, limit=3):
        position += len(changes)
        seen += [change.row.name for change in changes]

    assert seen == [f"o{number}" for number in range(7)]


def test_owners_are_indexed_while_they_own() -> None:
    store, table = _filled(0)
    child = _object("child")
    child["metadata"]["ownerReferences"] = [{"uid": "u-owner"}]
    store.put(table, child)
    owned = set(store.by_owner["u-owner"])
    store.put(table, _object("child"))

    assert owned == {(table, "n/child")}
    assert "u-owner" not in store.by_owner


async def test_subscribers_are_woken_by_writes_and_by_compaction() -> None:
    store, table = _filled(1)
    event = asyncio.Event()
    table.subscribe(event)
    store.put(table, _object("x"))
    by_write = event.is_set()
    event.clear()
    store.compact()

    assert by_write
    assert event.is_set()
    assert store.compacted == store.revision
