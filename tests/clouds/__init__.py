"""Clouds for tests: their public services over TLS, and their metadata services."""
