"""Bytes in, objects out, no Kubernetes.

yaml, scalars, emit ......... YAML as Kubernetes reads and writes it
builder ..................... a tree and a spec become objects, each build done once:
    view .................... a private copy of the artifact
    generate, kustomization . its root kustomization, found or made, with the spec laid over
    scan .................... what the build may not reach is named
    kustomize, sandbox ...... the official program, fenced by the kernel (launcher)
    cache ................... results, bounded in bytes
postbuild, substitute, glob . variables put into the objects, and what to mask afterwards
errors ...................... why sources do not become objects
"""

from __future__ import annotations

__all__: list[str] = []
