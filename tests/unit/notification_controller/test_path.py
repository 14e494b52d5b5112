"""Whose a path is."""

from __future__ import annotations

import itertools

from fluvial.objects import JsonObject, ObjectKey
from notification_controller.receiver.path import holder_of, webhook_path


def _receiver(name: str, created: str) -> JsonObject:
    return {"metadata": {"name": name, "uid": name, "creationTimestamp": created}}


def test_name_and_namespace_and_token_are_joined_without_a_separator() -> None:
    """Flux's scheme, which senders know: so two Receivers can have one path."""
    assert webhook_path(b"", ObjectKey("team-a", "deploy")) == webhook_path(
        b"deploy", ObjectKey("m-a", "tea")
    )


def test_of_two_that_published_one_path_it_is_the_older_ones() -> None:
    old, young = _receiver("z", "2026-01-01T00:00:00Z"), _receiver("a", "2026-01-02T00:00:00Z")
    same = _receiver("y", "2026-01-01T00:00:00Z")
    chosen = {
        holder_of(order)["metadata"]["name"] for order in itertools.permutations((old, young, same))
    }

    assert chosen == {"y"}, "whatever the order, and by uid where they are of one age"
