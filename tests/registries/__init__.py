"""Registries for tests: the CNCF's own as a process, and one in process that can be hostile."""
