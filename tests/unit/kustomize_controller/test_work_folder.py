"""Where the controller works, and what it finds there after it was killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fluvial.build.view import private_view
from kustomize_controller.app import work_folder


async def test_private_copies_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "secret.yaml").write_text("stringData: {password: hunter2}")
    cache = tmp_path / "cache"
    builds = cache / "builds"
    builds.mkdir(parents=True)
    copying = private_view(tree, work_dir=builds)
    left = await copying.__aenter__()  # the process is killed here, so nothing leaves the context
    assert (left / "secret.yaml").exists()
    with ExitStack() as stack:
        assert work_folder(str(cache), stack) == cache

    assert list(builds.iterdir()) == []
    await copying.__aexit__(None, None, None)


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        work = work_folder(str(tmp_path / "var" / "cache"), stack)

        assert work.stat().st_mode & 0o777 == 0o700


def test_without_a_path_the_folder_is_temporary() -> None:
    with ExitStack() as stack:
        work = work_folder("", stack)
        assert work.is_dir()

    assert not work.exists()
