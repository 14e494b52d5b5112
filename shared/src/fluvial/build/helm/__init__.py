"""Helm charts become manifests, by Helm's own Go engine in a guarded worker process.

renderer ..... what controllers call: a chart, values and a release in, a ``RenderedRelease`` out
model ........ what goes in and out
errors ....... why a chart does not become manifests
postrender ... kustomize's patches and images on what was rendered
lookup ....... what templates may read of a cluster, answered in the parent as the tenant

and, in the worker process alone:

job .......... the worker's target: the fence, one render
engine ....... the binding to the Go library
memory ....... the library's idea of what a cluster can do, set to what this cluster can do
facade ....... a loopback port that looks like an API server to the engine's ``lookup``
chart ........ archives: their limits, their files as releases store them
schemas ...... schemas without references to elsewhere
documents .... rendered files as objects, and back
"""

from __future__ import annotations

__all__: list[str] = []
