"""What the server remembers of calls is bounded, and forgotten in time."""

from __future__ import annotations

import tracemalloc

from clouds.clocks import TwoClocks
from notification_controller.receiver.memory import Deliveries, Refusals


def test_a_delivery_is_known_for_an_hour_and_to_its_receiver_only() -> None:
    clock = TwoClocks()
    deliveries = Deliveries(clock)
    deliveries.add("one", "id")

    assert deliveries.seen("one", "id")
    assert not deliveries.seen("two", "id")
    clock.step(3601)
    assert not deliveries.seen("one", "id")


def test_calls_without_an_id_are_never_known() -> None:
    deliveries = Deliveries(TwoClocks())
    deliveries.add("one", "")

    assert not deliveries.seen("one", "")


def test_an_id_without_end_takes_no_more_room_than_any() -> None:
    deliveries = Deliveries(TwoClocks())
    tracemalloc.start()
    try:
        for number in range(4):
            deliveries.add("one", f"{number}" + "x" * (1 << 20))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 100_000
    assert deliveries.seen("one", "3" + "x" * (1 << 20))
    assert not deliveries.seen("one", "4" + "x" * (1 << 20))


def test_the_oldest_deliveries_go_first() -> None:
    deliveries = Deliveries(TwoClocks())
    for number in range(10_001):
        deliveries.add("one", str(number))

    assert not deliveries.seen("one", "0")
    assert deliveries.seen("one", "1")


def test_refusals_fill_up_and_are_forgiven_one_a_second() -> None:
    clock = TwoClocks()
    refusals = Refusals(clock)
    for _ in range(50):
        assert not refusals.too_many("here", "")
        refusals.add("here", "")

    assert refusals.too_many("here", "")
    assert not refusals.too_many("there", "")
    assert not refusals.too_many("here", "/hook/known"), "who knows an address is another matter"
    clock.step(1)
    assert not refusals.too_many("here", "")
    refusals.add("here", "")
    assert refusals.too_many("here", "")
