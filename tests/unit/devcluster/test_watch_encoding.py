"""Watches: one encoding for each change, however many watch, and a bounded number of them kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from devcluster import store as store_module
from devcluster.engine import Engine
from devcluster.negotiation import Wanted
from devcluster.parameters import ListOptions
from devcluster.show.maker import TableMaker
from devcluster.store import Row
from devcluster.views import View
from devcluster.watching import Watch

_CHANGES = 600  # more than one batch


def _changed(engine: Engine) -> int:
    """The revision before some changes to ConfigMaps."""
    before, table = engine.store.revision, engine.store.table(("", "configmaps"))
    for number in range(_CHANGES):
        name = f"m{number:03d}"
        meta = {"name": name, "namespace": "n", "uid": name, "labels": {"half": str(number % 2)}}
        engine.store.put(table, {"metadata": meta})
    return before


def _watch(engine: Engine, revision: int, **query: str) -> Watch:
    kind = engine.kind("", "ConfigMap")
    options = ListOptions.parse({"resourceVersion": str(revision), **query}, watch=True)
    view = View(kind, Wanted(), "Metadata", TableMaker())
    chosen = engine.reader.selection(kind, namespace="", options=options)
    return Watch(engine.store, engine.store.table(kind.table), view, chosen, options)


async def _names(chunks: AsyncIterator[bytes], count: int) -> list[str]:
    names: list[str] = []
    async for chunk in chunks:
        names += [orjson.loads(line)["object"]["metadata"]["name"] for line in chunk.splitlines()]
        if len(names) >= count:
            break
    return names


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each revision is encoded for a watch."""
    counted: Counter[int] = Counter()
    plain = View.line

    def line(self: View, as_type: str, row: Row) -> bytes:
        counted[row.revision] += 1
        return plain(self, as_type, row)

    monkeypatch.setattr(View, "line", line)
    return counted


async def test_twenty_watches_cost_one_encoding_of_each_change(encodings: Counter[int]) -> None:
    engine = Engine()
    before = _changed(engine)
    seen = [await _names(_watch(engine, before).lines(), _CHANGES) for _ in range(20)]

    assert all(names == [f"m{number:03d}" for number in range(_CHANGES)] for names in seen)
    assert len(encodings) == _CHANGES
    assert set(encodings.values()) == {1}


async def test_watch_that_selects_shares_what_others_see(encodings: Counter[int]) -> None:
    engine = Engine()
    before = _changed(engine)
    await _names(_watch(engine, before).lines(), _CHANGES)
    half = await _names(_watch(engine, before, labelSelector="half=1").lines(), _CHANGES // 2)

    assert half == [f"m{number:03d}" for number in range(1, _CHANGES, 2)]
    assert set(encodings.values()) == {1}


async def test_only_the_latest_encodings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MAX_ENCODED", 100)
    engine = Engine()
    before = _changed(engine)
    first = await _names(_watch(engine, before).lines(), _CHANGES)
    history: Any = engine.store.table(("", "configmaps")).history
    kept = [change.row.name for change in history if change.encoded]
    again = await _names(_watch(engine, before).lines(), _CHANGES)

    assert kept == [f"m{number:03d}" for number in range(_CHANGES - 100, _CHANGES)]
    assert again == first
