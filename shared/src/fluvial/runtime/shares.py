"""That no tenant takes all places: a share of what is free, and who waits for a place of its own.

Places are few where work lasts long, as when a release waits for its objects. A group may hold at
most half of the places that the others have left, so that the next one always finds some: of 64
the first gets 32, while that one keeps them the second gets 16, and so on.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Shares"]

K = TypeVar("K", bound=Hashable)


class Shares(Generic[K]):
    """Counts who holds what, and keeps the keys of groups that hold enough.

    Args:
        places: how many keys are held at once, so the number of workers.
        group: of a key, such as its namespace.

    """

    def __init__(self, places: int, group: Callable[[K], Hashable]) -> None:
        self._places = places
        self._group = group
        self._held: Counter[Hashable] = Counter()
        self._parked: dict[Hashable, OrderedDict[K, None]] = {}
        self._let_go: set[K] = set()  # that nobody has taken yet

    def may_take(self, key: K) -> bool:
        """Whether the key's group may hold one more."""
        return self._room(self._group(key)) > 0

    def _room(self, group: Hashable) -> int:
        others = self._held.total() - self._held[group]
        return max(1, (self._places - others) // 2) - self._held[group]

    def taken(self, key: K) -> None:
        """A worker holds the key."""
        self._let_go.discard(key)
        self._held[self._group(key)] += 1

    def given_back(self, key: K) -> None:
        """A worker holds the key no longer."""
        group = self._group(key)
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]

    # --- keys whose group holds enough ------------------------------------------------------------

    def park(self, key: K) -> None:
        """Keep a key until its group may hold one more; one that was let go in vain comes first."""
        kept = self._parked.setdefault(self._group(key), OrderedDict())
        kept[key] = None
        if key in self._let_go:
            self._let_go.remove(key)
            kept.move_to_end(key, last=False)

    def hurry(self, key: K) -> None:
        """Have a kept key come before the others of its group."""
        self._parked[self._group(key)].move_to_end(key, last=False)

    def take_out(self) -> list[K]:
        """Take out all keys that are kept."""
        found = [key for kept in self._parked.values() for key in kept]
        self._parked.clear()
        self._let_go.clear()
        return found

    def released(self) -> Iterator[K]:
        """Take out the longest kept key of each group that may hold one more now."""
        coming = Counter(map(self._group, self._let_go))
        for group in [one for one in self._parked if self._room(one) > coming[one]]:
            kept = self._parked[group]
            key, _ = kept.popitem(last=False)
            self._let_go.add(key)
            if not kept:
                del self._parked[group]
            yield key

    def __contains__(self, key: K) -> bool:
        return key in self._parked.get(self._group(key), ())

    def __len__(self) -> int:
        return sum(map(len, self._parked.values()))
