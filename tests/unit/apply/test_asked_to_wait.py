"""How long a server wants to be left alone."""

from __future__ import annotations

import pytest

from fluvial.apply import Masker, StageRejected, asked_to_wait
from fluvial.apply.failures import failure_of
from fluvial.errors import FluvialError
from fluvial.kube.errors import ServerError, TooManyRequests
from fluvial.objects import ObjectRef
from fluvial.runtime.outcome import Failed

REF = ObjectRef("", "ConfigMap", "team", "a")


def refused(seconds: float | None) -> TooManyRequests:
    error = TooManyRequests("slow down", status=429)
    error.retry_after = seconds
    return error


def caused(error: FluvialError, cause: FluvialError) -> FluvialError:
    error.__cause__ = cause
    return error


def rejected(*seconds: float | None) -> StageRejected:
    return StageRejected(
        failures=[
            failure_of(REF, refused(each), masker=Masker(()), during="dry-run") for each in seconds
        ],
        applied=(),
    )


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refused(30), 30),
        (refused(None), 0),
        (ServerError("broken", status=500), 0),
        (caused(Failed("ArtifactFailed", "no"), refused(7)), 7),
        (caused(Failed("ReconciliationFailed", "no"), rejected(None, 5, 40)), 40),
        (FluvialError("else"), 0),
    ],
    ids=["said", "not said", "broken", "cause", "stage", "else"],
)
def test_the_longest_of_an_error_and_its_causes(error: FluvialError, seconds: float) -> None:
    assert asked_to_wait(error) == seconds
