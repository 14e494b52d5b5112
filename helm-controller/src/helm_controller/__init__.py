"""Reconciles HelmReleases."""
