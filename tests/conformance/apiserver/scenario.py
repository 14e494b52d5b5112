"""Scenarios as data: what is asked of an API server, step by step.

A file ``scenarios/<topic>.yaml`` has ``scenarios``, a map of name to scenario. A scenario has
``about``, ``steps`` and the flags of ``Scenario``. A step has a ``name`` and either ``do`` (a
request; ``as`` impersonates, ``type`` is the content type), ``watch`` (a path), ``collect`` (the
name of a watch) or ``compact: true`` (let the server forget all history; such a scenario is
``alone``); the rest are the attributes of ``Request``, ``Watch`` and ``Collect``.

Each scenario has its own namespace ``$NS``, made before its first step, so that scenarios run in
any order and side by side. Variables: ``$NS``; ``$CORE``, ``$APPS``, ``$BATCH``, ``$RBAC``,
``$COORD`` (the paths of API groups in that namespace); ``$RBACS`` and ``$CRDS`` (of cluster-wide
ones); ``$GROUP`` and ``$CRS`` (an API group of the scenario's own, and its path in the namespace);
whatever an earlier step saved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "SCENARIOS",
    "Collect",
    "Compact",
    "Request",
    "Scenario",
    "Step",
    "Watch",
    "expand",
    "load_all",
]

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
Json = dict[str, Any]
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Request:
    """One request and its answer.

    Attributes:
        line: method and path with query, as in ``GET $CORE/configmaps/a``.
        user: whom to impersonate, ``""`` for the admin itself.
        groups: the groups to impersonate with.
        bearer: a token to use in place of the admin's.
        anonymous: send no credentials.
        headers: further headers.
        content_type: of the body; the words apply, merge, json and strategic stand for patches.
        body: sent as JSON; ``raw`` is sent as it stands.
        save: variable name to JSON pointer into the answer.
        until: ask again until ``status`` and the values at JSON pointers are these; ``$ANY`` is any.
        only: JSON pointers; the rest of the answer is not recorded.
        see: names of headers of the answer to record.
        fill: how many characters ``$FILL`` in the body stands for.
        record: False for preparation that is no expectation.
        times: how often the items of a body that is a list are sent, one after the other.

    """

    name: str
    line: str
    user: str = ""
    groups: tuple[str, ...] = ()
    bearer: str = ""
    anonymous: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: Any = None
    raw: str | None = None
    save: Mapping[str, str] = field(default_factory=dict)
    until: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    see: tuple[str, ...] = ()
    fill: int = 0
    record: bool = True
    times: int = 1


@dataclass(frozen=True, slots=True)
class Watch:
    """Open a watch and leave it open; its answer is its status, and its body unless 200."""

    name: str
    path: str
    accept: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Collect:
    """Take events from an open watch.

    Attributes:
        watch: the name of its ``Watch`` step.
        count: how many, bookmarks not counted.
        closed: take all until the server ends the watch.
        bookmark: take all up to and including the bookmark that ends the initial events.

    """

    name: str
    watch: str
    count: int = 0
    closed: bool = False
    bookmark: bool = False


@dataclass(frozen=True, slots=True)
class Compact:
    """Let the server forget history: versions and pages from before are gone; never recorded."""

    name: str


Step = Request | Watch | Collect | Compact


@dataclass(frozen=True, slots=True)
class Scenario:
    """One behaviour.

    Attributes:
        topic: the file's name.
        namespace: whether ``$NS`` is made.
        workload: workload controllers write to the objects meanwhile; what they write (status,
            their managedFields, the revision annotation, resource versions) is left out.
        slow: lasts more than a second.
        alone: not beside others, because it changes what they rely on.
        discovery: the only ``group/version/resource`` entries of discovery documents to record.

    """

    topic: str
    name: str
    about: str
    steps: tuple[Step, ...]
    namespace: bool = True
    workload: bool = False
    slow: bool = False
    alone: bool = False
    discovery: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``topic/name``."""
        return f"{self.topic}/{self.name}"

    def variables(self) -> dict[str, Any]:
        """Those that every step may use."""
        space = f"c-{self.topic}-{self.name}"
        if len(space) > 50:
            raise ValueError(f"{self.id}: the name is too long for a namespace")
        return {
            "NS": space,
            "CORE": f"/api/v1/namespaces/{space}",
            "APPS": f"/apis/apps/v1/namespaces/{space}",
            "BATCH": f"/apis/batch/v1/namespaces/{space}",
            "RBAC": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}",
            "RBACS": "/apis/rbac.authorization.k8s.io/v1",
            "COORD": f"/apis/coordination.k8s.io/v1/namespaces/{space}",
            "CRDS": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "GROUP": f"{space}.example.com",
            "CRS": f"/apis/{space}.example.com/v1/namespaces/{space}",
        }


def load_all(folder: Path = SCENARIOS) -> list[Scenario]:
    """Read every scenario, sorted by id.

    Raises:
        ValueError: a field that this module does not know, or a name used twice.

    """
    found: list[Scenario] = []
    for file in sorted(folder.glob("*.yaml")):
        document = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)  # 10 times as fast
        for name, data in document["scenarios"].items():
            found.append(_scenario(file.stem, name, dict(data)))
    return sorted(found, key=lambda scenario: scenario.id)


def expand(value: Any, variables: Mapping[str, Any]) -> Any:
    """Put variables into every string of ``value``; a string that is one variable takes its type."""
    if isinstance(value, str):
        whole = _VARIABLE.fullmatch(value)
        if whole and (whole[1] or whole[2]) in variables:
            return variables[whole[1] or whole[2]]
        return _VARIABLE.sub(lambda m: str(variables.get(m[1] or m[2], m[0])), value)
    if isinstance(value, dict):
        return {expand(k, variables): expand(v, variables) for k, v in value.items()}
    if isinstance(value, list):
        return [expand(item, variables) for item in value]
    return value


def _scenario(topic: str, name: str, data: Json) -> Scenario:
    steps = tuple(_step(f"{topic}/{name}", item) for item in data.pop("steps"))
    names = [step.name for step in steps]
    if len(set(names)) != len(names):
        raise ValueError(f"{topic}/{name}: two steps of one name in {names}")
    data["discovery"] = tuple(data.pop("discovery", ()))
    try:
        return Scenario(topic=topic, name=name, steps=steps, **data)
    except TypeError as error:
        raise ValueError(f"{topic}/{name}: {error}") from error


def _step(where: str, item: Json) -> Step:
    data = dict(item)
    maker: type[Step] = Request
    if "watch" in data:
        maker, data["path"] = Watch, data.pop("watch")
    elif "collect" in data:
        maker, data["watch"] = Collect, data.pop("collect")
    elif data.pop("compact", False):
        maker = Compact
    else:
        data["line"] = data.pop("do", "")
        if "type" in data:
            data["content_type"] = data.pop("type")
        for key in ("groups", "only", "see"):
            data[key] = tuple(data.get(key, ()))
    if "as" in data:
        data["user"] = data.pop("as")
    try:
        return maker(**data)
    except TypeError as error:
        raise ValueError(f"{where}: {item.get('name')}: {error}") from error
