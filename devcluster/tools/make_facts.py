# ruff: noqa: INP001  a script beside the package, run by hand
"""Generate ``devcluster/facts``: what the served kinds look like, without any prose.

Run by hand when the Kubernetes version changes; the output is committed and deterministic::

    python devcluster/tools/make_facts.py [--go-modules DIR] [--check]

``openapi.json.gz`` comes from the published package ``kubernetes-validate``: structure, list types
and keys, merge strategies and keys, scalar formats. ``encoding.json.gz`` comes from the published
Go modules that ``tests/controlplane/go.mod`` names (their struct tags): which fields a server
leaves out when they are empty, and the Go type names that decoding errors quote. Without
``--go-modules`` the second file is left as it is.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["encoding_facts", "main", "openapi_facts", "to_bytes"]

RELEASE = "v1.37.0-local"
OUT = Path(__file__).resolve().parent.parent / "src" / "devcluster" / "facts"
PREFIX = "#/$defs/"

# Every kind of these groups is described; which of them are served is the server's choice.
GROUP_VERSIONS = frozenset(
    {
        "v1",
        "admissionregistration.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "apiregistration.k8s.io/v1",
        "apps/v1",
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "autoscaling/v1",
        "autoscaling/v2",
        "batch/v1",
        "certificates.k8s.io/v1",
        "coordination.k8s.io/v1",
        "discovery.k8s.io/v1",
        "events.k8s.io/v1",
        "networking.k8s.io/v1",
        "node.k8s.io/v1",
        "policy/v1",
        "rbac.authorization.k8s.io/v1",
        "scheduling.k8s.io/v1",
        "storage.k8s.io/v1",
    }
)

# Go packages of the OpenAPI names: prefix -> (module, folder inside the module).
GO_PACKAGES = (
    (re.compile(r"^io\.k8s\.api\.(\w+)\.(\w+)\."), "api", "{0}/{1}"),
    (
        re.compile(r"^io\.k8s\.apimachinery\.pkg\.apis\.(\w+)\.(\w+)\."),
        "apimachinery",
        "pkg/apis/{0}/{1}",
    ),
    (
        re.compile(r"^io\.k8s\.apiextensions-apiserver\.pkg\.apis\.(\w+)\.(\w+)\."),
        "apiextensions-apiserver",
        "pkg/apis/{0}/{1}",
    ),
    (
        re.compile(r"^io\.k8s\.kube-aggregator\.pkg\.apis\.(\w+)\.(\w+)\."),
        "kube-aggregator",
        "pkg/apis/{0}/{1}",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them; the exit code says whether they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--go-modules", type=Path, help="$GOMODCACHE/k8s.io")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)
    facts = openapi_facts()
    files = {"openapi.json.gz": to_bytes(facts)}
    if options.go_modules:
        files["encoding.json.gz"] = to_bytes(encoding_facts(facts, options.go_modules))
    stale = [name for name, data in files.items() if _current(name) != data]
    for name in stale:
        if options.check:
            sys.stderr.write(f"{name} is not what the sources say\n")
        else:
            (OUT / name).write_bytes(files[name])
    return int(bool(stale) and options.check)


def to_bytes(facts: dict[str, Any]) -> bytes:
    """The facts as gzip'd JSON, the same bytes for the same facts on every machine."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _current(name: str) -> bytes:
    path = OUT / name
    return path.read_bytes() if path.exists() else b""


# --- structure -----------------------------------------------------------------------------------


def openapi_facts() -> dict[str, Any]:
    """``{"kinds": {"apps/v1/Deployment": type}, "types": {type: description}}``."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("install kubernetes-validate first (it is in the dev requirements)")
    path = Path(spec.origin).parent / "kubernetes-json-schema" / RELEASE / "_definitions.json"
    definitions: dict[str, Any] = json.loads(path.read_text())["$defs"]
    kinds = dict(_kinds(definitions))
    types: dict[str, Any] = {}
    todo = sorted(set(kinds.values()))
    while todo:
        name = todo.pop()
        if name in types:
            continue
        types[name] = _type(definitions[name])
        todo.extend(ref for ref in _refs(definitions[name]) if ref not in types)
    return {"kinds": kinds, "types": types}


def _kinds(definitions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, definition in definitions.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            group_version = f"{gvk['group']}/{gvk['version']}".lstrip("/")
            kind = gvk["kind"]
            if group_version not in GROUP_VERSIONS or kind.endswith("List"):
                continue
            if kind in {"DeleteOptions", "WatchEvent", "Status", "APIGroup", "APIResource"}:
                continue
            yield f"{group_version}/{kind}", name


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item.removeprefix(PREFIX)
            else:
                yield from _refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def _type(definition: dict[str, Any]) -> Any:
    """One named type: a struct's fields, or the plain form of anything else."""
    if "properties" not in definition:
        return _form(definition)
    out: dict[str, Any] = {
        "f": {name: _form(prop) for name, prop in definition["properties"].items()}
    }
    if definition.get("required"):
        out["r"] = sorted(definition["required"])
    if definition.get("x-kubernetes-map-type"):
        out["m"] = definition["x-kubernetes-map-type"]
    return out


def _form(prop: dict[str, Any]) -> Any:
    """One use of a type: a scalar's name, ``@type``, or a dict for lists, maps and annotations."""
    marks = {
        short: prop[long]
        for short, long in (
            ("m", "x-kubernetes-map-type"),
            ("l", "x-kubernetes-list-type"),
            ("k", "x-kubernetes-list-map-keys"),
            ("s", "x-kubernetes-patch-strategy"),
            ("p", "x-kubernetes-patch-merge-key"),
        )
        if long in prop
    }
    base = _base(prop)
    if not marks:
        return base
    return {**(base if isinstance(base, dict) else {"t": base}), **marks}


def _base(prop: dict[str, Any]) -> Any:  # noqa: PLR0911  one answer per JSON type
    if "$ref" in prop:
        return "@" + prop["$ref"].removeprefix(PREFIX)
    if "oneOf" in prop:
        return "scalar"
    kind = prop.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "array":
        return {"t": "list", "of": _form(prop["items"])}
    if kind == "object":
        if "additionalProperties" in prop:
            return {"t": "map", "of": _form(prop["additionalProperties"])}
        return "object"
    if kind == "string":
        return {"byte": "bytes", "date-time": "time"}.get(prop.get("format", ""), "string")
    if kind == "integer":
        return prop.get("format", "int64")
    return {"number": "number", "boolean": "boolean"}.get(kind or "", "any")


# --- encoding ------------------------------------------------------------------------------------

STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
DURATION = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration"
FIELD = re.compile(r"^\t(?:(\w+) )?\s*(\S+)\s+`json:\"([^\"]*)\"", re.MULTILINE)


def encoding_facts(facts: dict[str, Any], modules: Path) -> dict[str, Any]:
    """``{type: {field: "rule gotype"}}``; rules: p pointer, o left out when empty, s always there."""
    packages: dict[Path, dict[str, str]] = {}
    out: dict[str, dict[str, str]] = {}
    for name, described in sorted(facts["types"].items()):
        if not isinstance(described, dict) or "f" not in described:
            continue
        folder = _folder(name, modules)
        if folder is None:
            continue
        if folder not in packages:
            packages[folder] = _parse(folder)
        struct = name.rsplit(".", 1)[1]
        fields = dict(_fields(struct, packages[folder], described["f"], _package(folder)))
        out[name] = {key: fields[key] for key in described["f"] if key in fields}
    return out


def _folder(name: str, modules: Path) -> Path | None:
    for pattern, module, inner in GO_PACKAGES:
        match = pattern.match(name)
        if match:
            found = sorted(modules.glob(f"{module}@*"))
            return found[-1] / inner.format(*match.groups()) if found else None
    return None


def _package(folder: Path) -> str:
    return folder.name if folder.name.startswith("v") else folder.parent.name


def _parse(folder: Path) -> dict[str, str]:
    structs: dict[str, str] = {}
    for path in sorted(folder.glob("*.go")):
        if path.name.startswith("zz_") or path.name.endswith("_test.go"):
            continue
        text = path.read_text()
        structs.update({m.group(1): m.group(2) for m in STRUCT.finditer(text)})
    return structs


def _fields(
    struct: str, structs: dict[str, str], described: dict[str, Any], package: str
) -> Iterator[tuple[str, str]]:
    for _, go_type, tag in FIELD.findall(structs.get(struct, "")):
        json_name, *flags = tag.split(",")
        if json_name == "-":
            continue
        if not json_name:
            inlined = go_type.rsplit(".", 1)[-1]
            if inlined in structs:
                yield from _fields(inlined, structs, described, package)
            elif inlined == "TypeMeta":
                yield from (("kind", "o string"), ("apiVersion", "o string"))
            continue
        rule = _rule(go_type, flags, described.get(json_name))
        yield json_name, f"{rule} {_qualified(go_type, package)}"


def _rule(go_type: str, flags: list[str], form: Any) -> str:
    """How the field is written: p and n for pointers, s and z for structs, o and a for the rest."""
    if go_type.startswith("*"):
        return "p" if "omitempty" in flags else "n"
    if isinstance(form, dict):
        form = form["t"]
    if isinstance(form, str) and form.startswith("@") and form != "@" + DURATION:
        return "z" if "omitzero" in flags else "s"
    return "o" if "omitempty" in flags else "a"


def _qualified(go_type: str, package: str) -> str:
    text = go_type.replace("metav1.", "v1.")
    return re.sub(
        r"(^|[\]*])([A-Z]\w*)$", lambda match: f"{match.group(1)}{package}.{match.group(2)}", text
    )


if __name__ == "__main__":
    raise SystemExit(main())
