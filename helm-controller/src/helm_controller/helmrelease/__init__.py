"""HelmRelease: a chart and values become a release, and stay one."""
