"""Helm's Go engine through its binding, in the worker process; the only importer of the library.

The binding is ``helm-python-sdk``; its C functions are called by their JSON options, of which the
Python methods pass on a part. Of the library's two ways to render, the engine alone is used: it
processes dependencies, checks schemas and runs templates. The other one, an installation in a dry
run, knows no revisions, and asks the cluster about every object. What it does beyond is done here
(the chart's range of Kubernetes versions, notes, CRDs) or by the owner of releases (order of
kinds, hooks).

A chart is loaded anew for each render, because rendering changes it; that change is wanted for the
stored chart, whose values and dependencies are those that were processed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from fluvial.build.errors import EngineFailed
from fluvial.build.helm.chart import ChartFile, prepare, write_archive
from fluvial.build.helm.errors import (
    ChartInvalid,
    RenderError,
    RenderTooLarge,
    TemplateFailed,
    ValuesRefused,
)
from fluvial.build.helm.memory import DefaultCapabilities, ProcessMemory, UnknownLayout
from fluvial.kube.capabilities import Capabilities
from fluvial.objects import JsonObject
from fluvial.semver import InvalidVersion, Range, Version

__all__ = ["MAX_OUTPUT", "Engine"]

MAX_OUTPUT: Final = 32 << 20
"""Bytes of text that all files together may have."""

_NOTES: Final = "NOTES.txt"
_LOCKS: Final = ("requirements.lock", "Chart.lock")
_NO_TIME: Final = "0001-01-01T00:00:00Z"
_PROBE: Final = (
    '{"version":{{ .Capabilities.KubeVersion.Version | quote }},'
    '"text":{{ .Capabilities.KubeVersion.String | quote }},'
    '"major":{{ .Capabilities.KubeVersion.Major | quote }},'
    '"minor":{{ .Capabilities.KubeVersion.Minor | quote }},'
    '"all":{{ .Capabilities.APIVersions | toJson }},'
    '"has":{{ .Capabilities.APIVersions.Has "probe.example.com/v1/Probe" }}}'
)
_DESCRIPTION: Final = ChartFile("Chart.yaml", b"apiVersion: v2\nname: probe\nversion: 0.1.0\n")
_PROBED: Final = Capabilities("v1.2.3+probe", "1", "2+", ("probe.example.com/v1/Probe", "v1"))
_MAX_MESSAGE: Final = 2048


class Engine:
    """The library, loaded and checked.

    Args:
        api_server: URL of what answers ``lookup``; the engine is told of no other server.
        memory: of this process.

    Raises:
        EngineFailed: the library is not there, or not as it is known here.

    """

    def __init__(self, api_server: str, memory: ProcessMemory) -> None:
        try:
            import helm_python  # noqa: PLC0415  # 85 MB, and controllers may be without
            from helm_python import _native  # noqa: PLC0415  # likewise
        except ImportError:
            raise EngineFailed("the package helm-python-sdk is not installed") from None
        except Exception as error:  # its own error type cannot be imported then
            raise EngineFailed("Helm's engine cannot be loaded on this system") from error
        self._helm = helm_python
        self._native: Any = _native
        self._defaults = self._find_defaults(memory)
        self._cluster = helm_python.Config(
            kube_apiserver=api_server, storage_driver="memory", qps=10_000.0, burst_limit=10_000
        )

    def render(
        self,
        archive: bytes,
        values: str,
        *,
        options: Mapping[str, Any],
        capabilities: Capabilities,
        validate: bool,
        version: str,
        last: Mapping[str, str] | None,
        lookup: bool,
    ) -> JsonObject:
        """Render a chart.

        Args:
            archive: the chart, a gzipped tar archive.
            values: JSON, laid over the chart's.
            options: ``name``, ``namespace``, ``revision``, ``is_install``, ``is_upgrade``.
            capabilities: of the cluster.
            validate: whether values must fit schemas.
            version: which the chart is to have, or ``""``.
            last: ``chart`` and ``config``, the last release's values, each as JSON; what they
                make together takes the place of the chart's own values.
            lookup: whether the parent answers ``lookup``; else it finds nothing, as in a dry run.

        Returns:
            ``files`` (path to text), ``notes``, ``crds``, ``chart`` (as stored), ``warnings``.

        Raises:
            RenderError: it does not render; says why.

        """
        defaults = None if last is None else self._coalesced(last["chart"], last["config"])
        files, prepared, warnings = prepare(
            archive, validate=validate, version=version, values=defaults
        )
        with self._load(prepared) as chart:
            _check_type(chart.metadata)
            _check_version(chart.metadata, capabilities)
            self._defaults.set(capabilities)
            rendered = self._run(chart, values, options, lookup=lookup)
            name = chart.metadata["name"]
            notes = rendered.get(f"{name}/templates/{_NOTES}", "")
            return {
                "files": {
                    path: text for path, text in rendered.items() if not path.endswith(_NOTES)
                },
                "notes": notes,
                "crds": _crds(chart),
                "chart": self._stored(chart, files),
                "warnings": list(warnings),
            }

    def definitions(self, archive: bytes, values: str) -> JsonObject:
        """The ``crds`` of a chart and its enabled subcharts, without running a template.

        Raises:
            RenderError: it is no chart, or its dependencies cannot be processed.

        """
        _, prepared, _ = prepare(archive, validate=False, templates=False)
        with self._load(prepared) as chart:
            self._run(chart, values, {}, lookup=False)
            return {"crds": _crds(chart)}

    def _coalesced(self, chart: str, config: str) -> bytes:
        """Values laid over those of a chart, as JSON."""
        files = (_DESCRIPTION, ChartFile("values.yaml", chart.encode()))
        with self._load(write_archive(files)) as loaded:
            merged: str = self._checked(
                ValuesRefused,
                self._native.call_string,
                *("helm_chart_merge_values", loaded._raw(), config),  # noqa: SLF001  # the binding's own way
            )
        return merged.encode()

    def _load(self, archive: bytes) -> Any:
        return self._checked(ChartInvalid, self._helm.Chart.load_archive, archive)

    def _run(
        self, chart: Any, values: str, options: Mapping[str, Any], *, lookup: bool
    ) -> dict[str, str]:
        function = "helm_render_with_config" if lookup else "helm_render"
        handles = [self._cluster._raw()] if lookup else []  # noqa: SLF001  # the binding's own way
        text = self._checked(
            TemplateFailed,
            self._native.call_string,
            *(function, *handles, chart._raw()),  # noqa: SLF001  # likewise
            *(values, json.dumps(dict(options))),
        )
        if len(text) > MAX_OUTPUT:
            raise RenderTooLarge(f"the templates give more than {MAX_OUTPUT >> 20} MiB of text")
        files: dict[str, str] = orjson.loads(text)
        return files

    def _checked(
        self, otherwise: type[RenderError], function: Callable[..., Any], *arguments: Any
    ) -> Any:
        helm = self._helm
        try:
            return function(*arguments)
        except (helm.HelmChartLoadError, helm.HelmChartInvalidError) as error:
            raise ChartInvalid(_message(error)) from error
        except helm.HelmValuesError as error:
            raise ValuesRefused(_message(error)) from error
        except helm.HelmPanicError as error:
            raise otherwise("Helm's engine panicked") from error
        except helm.HelmError as error:
            raise otherwise(_message(error)) from error

    def _stored(self, chart: Any, files: Sequence[ChartFile]) -> JsonObject:
        """The chart as Helm writes it into a release; subcharts are not part of it."""
        by_name = {file.name: file for file in files}
        schema = by_name.get("values.schema.json")
        lock = next((by_name[name] for name in _LOCKS if name in by_name), None)
        return {
            "metadata": chart.metadata,
            "lock": None if lock is None else self._lock(lock),
            "templates": _stored_files(chart.templates, by_name),
            "values": chart.values,
            "schema": None if schema is None else base64.b64encode(schema.data).decode(),
            "schemamodtime": _NO_TIME if schema is None else schema.modified or _NO_TIME,
            "files": _stored_files(chart.files, by_name),
            "modtime": by_name["Chart.yaml"].modified or _NO_TIME,
        }

    def _lock(self, file: ChartFile) -> JsonObject:
        """A lock file with the fields in the order of Helm's type."""
        text = file.data.decode(errors="replace")
        content = self._checked(ChartInvalid, self._helm.values_from_yaml, text) or {}
        dependencies = content.get("dependencies")
        return {
            "generated": content.get("generated") or _NO_TIME,
            "digest": content.get("digest") or "",
            "dependencies": [
                {name: str(each.get(name) or "") for name in ("name", "version", "repository")}
                for each in dependencies
            ]
            if isinstance(dependencies, list)
            else None,
        }

    def _find_defaults(self, memory: ProcessMemory) -> DefaultCapabilities:
        before = self._probe()
        try:
            defaults = DefaultCapabilities(
                memory,
                library=self._native.library_path.name,
                version=before["version"],
                api_versions=before["all"],
            )
        except (UnknownLayout, OSError) as error:
            raise EngineFailed(f"this build of Helm's engine is not known: {error}") from error
        defaults.set(_PROBED)
        wanted = {
            "version": _PROBED.version,
            "text": _PROBED.version,
            "major": _PROBED.major,
            "minor": _PROBED.minor,
            "all": list(_PROBED.api_versions),
            "has": True,
        }
        if self._probe() != wanted:
            raise EngineFailed("this build of Helm's engine is not known: it keeps its defaults")
        return defaults

    def _probe(self) -> JsonObject:
        """What a chart sees that writes down its capabilities."""
        files = (_DESCRIPTION, ChartFile("templates/probe.json", _PROBE.encode()))
        archive = write_archive(files)
        with self._helm.Chart.load_archive(archive) as chart:
            said = chart.render()["probe/templates/probe.json"]
        seen: JsonObject = orjson.loads(said)
        return seen


def _crds(chart: Any) -> list[list[str]]:
    return [[crd["name"], crd["filename"], crd["data"]] for crd in chart.crds]


def _check_type(metadata: JsonObject) -> None:
    """Refuse a chart that is only there for others: nothing of it would be rendered."""
    kind = metadata.get("type") or "application"
    if kind != "application":
        raise ChartInvalid(f"the chart is of type {kind}, which cannot be installed")


def _check_version(metadata: JsonObject, capabilities: Capabilities) -> None:
    """Refuse a chart that is not for this version of Kubernetes (Helm: ``kubeVersion``)."""
    wanted = metadata.get("kubeVersion") or ""
    if not wanted:
        return
    try:
        fits = Version.parse(capabilities.version) in Range.parse(wanted)
    except InvalidVersion:
        fits = False
    if not fits:
        raise ChartInvalid(
            f"chart requires kubeVersion: {wanted} which is incompatible with"
            f" Kubernetes {capabilities.version}"
        )


def _stored_files(
    files: Iterable[Mapping[str, str]], by_name: Mapping[str, ChartFile]
) -> list[JsonObject] | None:
    """As Helm writes them: none are null."""
    stored = []
    for file in files:
        known = by_name.get(file["name"]) or ChartFile(file["name"], file["data"].encode())
        entry = {"name": known.name, "data": base64.b64encode(known.data).decode()}
        stored.append({**entry, "modtime": known.modified} if known.modified else entry)
    return stored or None


def _message(error: Exception) -> str:
    """Where a long chain of calls starts, and what went wrong at its end."""
    text = str(error).strip()
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]} [...] {text[-half:]}"
