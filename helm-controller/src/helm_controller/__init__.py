"""Reconciles HelmReleases (not written yet)."""
