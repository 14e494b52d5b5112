"""Measurements. They are kept apart from the tests, which never depend on speed."""
