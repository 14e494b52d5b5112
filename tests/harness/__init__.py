"""What integration tests of controllers share: a cluster, artifacts, and the controller itself."""
