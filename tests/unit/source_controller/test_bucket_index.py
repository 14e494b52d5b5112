"""Which objects count, and what a bucket's revision is made of."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.artifact.ignore import Matcher, parse_lines
from fluvial.paths import secure_join
from source_controller.bucket.index import BadKey, check_keys, digest_of, read_index
from source_controller.bucket.stores.errors import TooLarge
from source_controller.bucket.stores.model import Body, Item, Limits


class Listed:
    """A bucket that can only be listed."""

    def __init__(self, *pages: list[str], size: int = 1) -> None:
        self._pages = pages
        self._size = size
        self.given = 0

    async def pages(self, prefix: str) -> AsyncIterator[tuple[Item, ...]]:
        for page in self._pages:
            self.given += 1
            yield tuple(Item(key, f"etag-{key}", self._size) for key in page)

    def open(self, key: str, *, pinned: Item | None = None) -> AbstractAsyncContextManager[Body]:
        raise NotImplementedError


async def test_folders_the_rules_and_what_they_name_do_not_count() -> None:
    store = Listed(["a.yaml", "b/", "b/c.md"], [".sourceignore", "b/.sourceignore", "d/e"])
    found = await read_index(store, "", Matcher(parse_lines("*.md\n")), Limits())

    assert list(found) == ["a.yaml", "b/.sourceignore", "d/e"]


async def test_a_list_is_left_when_its_names_would_fill_the_memory() -> None:
    page = [f"{'n' * 250}/" * 4 + f"{number:04}" for number in range(1000)]
    store = Listed(*([f"{at:03}{key}" for key in page] for at in range(60)))
    with pytest.raises(TooLarge, match="names of the objects"):
        await read_index(store, "", Matcher([]), Limits())

    assert store.given < 40


@pytest.mark.parametrize(("key", "version"), [("k" * 1025, ""), ("k", "1" * 65)])
def test_a_name_that_no_storage_takes_is_not_kept(key: str, version: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        Item.read(key, "etag", "1", version)


def test_the_revision_is_of_sorted_lines() -> None:
    keys = {key: Item(key, key.upper(), 1) for key in ("b", "a", "a/c", "ü")}
    wanted = hashlib.sha512("a A\na/c A/C\nb B\nü Ü\n".encode()).hexdigest()

    assert str(digest_of(keys, "sha512")) == f"sha512:{wanted}"
    assert str(digest_of({}, "sha256")) == f"sha256:{hashlib.sha256().hexdigest()}"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_listed=5), "more than 5 objects"),
        (Limits(max_entries=5), "more than 5 objects are not ignored"),
        (Limits(max_total=5), "more than 5 bytes together"),
        (Limits(max_object=0), "object 'a0' has 1 bytes"),
    ],
)
async def test_a_list_is_left_at_the_first_page_that_is_too_much(
    limits: Limits, message: str
) -> None:
    store = Listed(*([f"{name}{number}" for number in range(3)] for name in "abcdefgh"))
    with pytest.raises(TooLarge, match=message):
        await read_index(store, "", Matcher([]), limits)

    assert store.given <= 2


async def test_ignored_objects_may_have_any_name_and_size() -> None:
    store = Listed(["../../x", "/y", "ok"], size=7)
    matcher = Matcher(parse_lines("x\ny\n"))
    found = await read_index(store, "", matcher, Limits(max_object=7, max_total=7))

    assert list(found) == ["ok"]


@given(st.text(alphabet=st.sampled_from("ab./\\\0 ü"), min_size=1, max_size=12))
def test_a_key_that_passes_is_its_own_path(key: str) -> None:
    from pathlib import Path

    try:
        check_keys([key])
    except BadKey:
        return

    assert secure_join(Path("/root-folder"), key) == Path("/root-folder") / key
    assert str(Path(key)) == key


def test_keys_are_told_shortened() -> None:
    with pytest.raises(BadKey) as error:
        check_keys(["x" * 5000])

    assert len(str(error.value)) < 250
