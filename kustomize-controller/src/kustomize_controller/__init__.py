"""Builds and applies Kustomizations as the tenant."""
