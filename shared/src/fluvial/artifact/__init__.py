"""Artifacts: archives of sources, stored, served, fetched and unpacked, verified at every hop."""
