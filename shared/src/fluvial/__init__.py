"""The library the Fluvial controllers share."""
