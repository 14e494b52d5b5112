"""Sends events out and takes webhooks in (not written yet)."""
