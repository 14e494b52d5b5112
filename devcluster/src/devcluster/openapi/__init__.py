"""OpenAPI documents of what is served: structure without prose, made when they are asked for."""

from devcluster.openapi.documents import OpenApi

__all__ = ["OpenApi"]
