"""An embedded Kubernetes API server for demos and tests."""
