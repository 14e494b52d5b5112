"""The Kustomization kind: `reconciler` is the way of one object, the rest are its steps."""
