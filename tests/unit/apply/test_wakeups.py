"""Which watches are kept when nobody waits any more."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.apply.wakeups import WakeUps
from fluvial.clock import RealClock
from fluvial.kube.errors import NotFound
from fluvial.kube.informer import InformerFactory
from fluvial.kube.kinds import CONFIG_MAP


class FakeInformer:
    """Fails or works."""

    error: Exception | None = None

    def subscribe(self, subscriber: Any) -> Any:
        del subscriber
        return lambda: None


class FakeInformers:
    """Gives one informer and notes that it was given back."""

    def __init__(self) -> None:
        self.one = FakeInformer()
        self.released = 0

    def informer(self, *args: Any, **options: Any) -> FakeInformer:
        del args, options
        return self.one

    def release(self, informer: FakeInformer) -> None:
        assert informer is self.one
        self.released += 1


@pytest.mark.parametrize(
    ("fails", "is_used", "released"), [(True, False, 1), (True, True, 0), (False, False, 0)]
)
def test_a_watch_that_fails_and_that_nobody_uses_is_ended(
    *, fails: bool, is_used: bool, released: int
) -> None:
    """As after a definition was deleted with its objects; others linger for the next wait."""
    informers = FakeInformers()
    wakeups = WakeUps(
        cast("InformerFactory", informers),
        selector="",
        woken=lambda ref, version: None,
        clock=RealClock(),
    )
    wakeups.use(CONFIG_MAP)
    if not is_used:
        wakeups.unuse(CONFIG_MAP)
    if fails:
        informers.one.error = NotFound("404 page not found", status=404)
    wakeups.sweep()

    assert informers.released == released
