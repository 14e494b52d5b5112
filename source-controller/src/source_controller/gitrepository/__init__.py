"""GitRepository: a Git reference becomes an artifact."""
