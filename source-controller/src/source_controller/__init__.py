"""source-controller: fetches Git repositories and serves them as artifacts."""
