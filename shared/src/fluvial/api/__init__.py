"""The kinds of the Flux API, typed.

meta ............. what all kinds have in common, and how a model is written
source, kustomize  one module per API group
codec ............ dicts to models and back
crd, manifests ... the CustomResourceDefinitions, made from the models
"""

from __future__ import annotations

__all__: list[str] = []
