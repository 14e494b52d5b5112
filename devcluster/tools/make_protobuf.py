# ruff: noqa: INP001 (a script, not a package)
"""Generates ``src/devcluster/wire/messages.json.gz`` from the published ``generated.proto`` files.

    python devcluster/tools/make_protobuf.py GO_MODULE_CACHE

Only numbers, names and types are taken; fields that Go inlines (their name is none of the JSON
fields) are marked. Run it when ``facts/`` moves to another release.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import orjson

from devcluster import facts
from devcluster.kinds import Kinds

_RELEASE = "v0.37.2"
_PACKAGE = re.compile(r"^package (\S+);", re.MULTILINE)
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r"^  (?:(optional|repeated) )?(map<string, [\w.]+>|[\w.]+) (\w+) = (\d+)", re.MULTILINE
)
_SCALARS = {"string", "bool", "int32", "int64", "bytes", "double", "float"}
_EXTRA = (
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.authentication.v1.TokenRequest",
)


def _read(cache: Path) -> dict[str, dict[str, tuple[str, str, str]]]:
    messages: dict[str, dict[str, tuple[str, str, str]]] = {}
    for module in ("api", "apimachinery"):
        for path in sorted((cache / "k8s.io" / f"{module}@{_RELEASE}").rglob("generated.proto")):
            text = path.read_text()
            found = _PACKAGE.search(text)
            if found is None:
                continue
            package = found.group(1)
            for name, body in _MESSAGE.findall(text):
                fields = {
                    number: (field, label, _type(kind, package))
                    for label, kind, field, number in _FIELD.findall(body)
                }
                messages[_named(f"{package}.{name}")] = fields
    return messages


def _named(full: str) -> str:
    """``k8s.io.api.core.v1.Pod`` as OpenAPI names it: ``io.k8s.api.core.v1.Pod``."""
    return re.sub(r"^\.?k8s\.io\.", "io.k8s.", full)


def _type(kind: str, package: str) -> str:
    if kind.startswith("map<"):
        return "map:" + _type(kind[12:-1].strip(), package)
    if kind in _SCALARS:
        return kind
    return _named(kind if "." in kind else f"{package}.{kind}")


def _encode(name: str, fields: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    described = facts.load().types.get(name)
    known = described.get("f", {}) if isinstance(described, dict) else {}
    encoded: dict[str, str] = {}
    for number, (field, label, kind) in fields.items():
        mark = "[]" if label == "repeated" else ""
        if kind.startswith("map:"):
            mark = "{}"
        elif known and not mark and field not in known and kind not in _SCALARS:
            mark = "^"
        encoded[number] = f"{field[0].lower()}{field[1:]} {mark}{kind.removeprefix('map:')}"
    return encoded


def main() -> None:
    """Write the file."""
    messages = _read(Path(sys.argv[1]))
    source = facts.load()
    wanted = list(_EXTRA)
    for kind in Kinds():
        name = source.kinds.get(f"{kind.group}/{kind.version}/{kind.kind}".lstrip("/"))
        if name in messages:
            wanted.append(name)
    chosen: dict[str, dict[str, str]] = {}
    while wanted:
        name = wanted.pop()
        if name in chosen or name not in messages:
            continue
        chosen[name] = _encode(name, messages[name])
        wanted += [text.split(" ")[1].lstrip("[]{}^") for text in chosen[name].values()]
    target = Path(__file__).parent.parent / "src/devcluster/wire/messages.json.gz"
    data = orjson.dumps(dict(sorted(chosen.items())))
    target.write_bytes(gzip.compress(data, mtime=0))
    sys.stdout.write(f"{len(chosen)} messages, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
