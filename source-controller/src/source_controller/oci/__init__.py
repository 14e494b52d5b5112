"""Registries: an OCI distribution client, and what is made of what it brings."""
