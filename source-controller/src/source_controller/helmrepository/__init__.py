"""HelmRepository: the index of a repository of Helm charts becomes an artifact."""
