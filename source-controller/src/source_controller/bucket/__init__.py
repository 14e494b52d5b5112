"""Bucket: the objects of a bucket of object storage become an artifact."""
