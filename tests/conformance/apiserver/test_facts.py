"""What devcluster was told of the real API server is what that server says."""

from __future__ import annotations

import json

import pytest

from controlplane import facts
from controlplane.start import ControlPlane


async def test_committed_files_are_what_the_server_says(real_control_plane: ControlPlane) -> None:
    found = await facts.gather(real_control_plane)

    stale = [n for n in facts.FILES if (facts.DATA / n).read_text() != facts.to_text(found[n])]

    assert stale == [], "python -m controlplane.facts"


def test_kinds_are_those_that_are_asked_for() -> None:
    kinds = json.loads((facts.DATA / "kinds.json").read_text())
    found: dict[str, set[str]] = {}
    for kind in kinds:
        found.setdefault(f"{kind['group']}/{kind['version']}", set()).add(kind["plural"])

    assert found == facts.SERVED


@pytest.mark.parametrize("name", facts.FILES)
def test_files_are_written_as_the_generator_writes(name: str) -> None:
    text = (facts.DATA / name).read_text()

    assert facts.to_text(json.loads(text)) == text
