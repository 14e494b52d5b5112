"""HelmChart: one version of one chart, from wherever it is, becomes an artifact."""
