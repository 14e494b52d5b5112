"""Fetches Git repositories into artifacts."""
