"""Scripts as data: kubectl commands, one after the other.

A file ``scripts/<topic>.yaml`` has ``scripts``, a map of name to script, and may have ``files``, a
map of name to text that all its scripts share. A script has ``about``, ``files`` and ``steps``. A
step has a ``name`` and either ``run`` (a kubectl command line) or ``watch`` (one that does not end
by itself); the rest are the attributes of ``Command`` and ``Watch``.

Each script has its own namespace ``$NS``, which is also the default one, and its own folder, in
which the commands run and the files are. Everything that a script makes outside of its namespace it
deletes itself, in ``after`` at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["SCRIPTS", "Command", "Script", "Step", "Watch", "load_all"]

SCRIPTS = Path(__file__).parent / "scripts"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command that ends; its answer is its exit code and both outputs.

    Attributes:
        run: the words after ``kubectl``, quoted as in a shell.
        stdin: what it reads.
        env: further environment variables.
        write: files to write before, name to text.
        until: run it again until its output has a match of this pattern.
        keep: only lines with a match of this pattern are recorded.
        last: only the last line is recorded: how many came before is a matter of timing.
        sort: the lines come in any order and are sorted.
        record: False for preparation, which has to succeed and is no expectation.

    """

    name: str
    run: str
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    write: Mapping[str, str] = field(default_factory=dict)
    until: str = ""
    keep: str = ""
    last: bool = False
    sort: bool = False
    record: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """A command that goes on until it is stopped; its answer is its first lines.

    Attributes:
        watch: the words after ``kubectl``.
        first: once there are so many lines, the commands of ``then`` run.
        then: commands that have to succeed.
        lines: stop it after so many lines.

    """

    name: str
    watch: str
    lines: int
    first: int = 1
    then: tuple[str, ...] = ()


Step = Command | Watch


@dataclass(frozen=True, slots=True)
class Script:
    """One use of kubectl.

    Attributes:
        topic: the file's name.
        after: commands that clean up; that they succeed is not asked.

    """

    topic: str
    name: str
    about: str
    steps: tuple[Step, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``topic/name``."""
        return f"{self.topic}/{self.name}"

    @property
    def space(self) -> str:
        """The script's namespace."""
        return f"k-{self.topic}-{self.name}"


def load_all(folder: Path = SCRIPTS) -> list[Script]:
    """Read every script, sorted by id.

    Raises:
        ValueError: a field that this module does not know, or a name used twice.

    """
    scripts = []
    for file in sorted(folder.glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        shared = document.get("files") or {}
        for name, entry in document["scripts"].items():
            scripts.append(_script(file.stem, name, entry, shared))
    return sorted(scripts, key=lambda script: script.id)


def _script(topic: str, name: str, entry: Json, shared: Mapping[str, str]) -> Script:
    try:
        steps = tuple(_step(step) for step in entry["steps"])
        rest = {key: value for key, value in entry.items() if key not in ("steps", "files")}
        rest["after"] = tuple(entry.get("after") or ())
        files = {**shared, **(entry.get("files") or {})}
        script = Script(topic=topic, name=name, steps=steps, files=files, **rest)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{topic}/{name}: {error}") from error
    names = [step.name for step in steps]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{topic}/{name}: used twice: {', '.join(twice)}")
    return script


def _step(entry: Json) -> Step:
    if "watch" in entry:
        return Watch(**{**entry, "then": tuple(entry.get("then") or ())})
    return Command(**entry)
