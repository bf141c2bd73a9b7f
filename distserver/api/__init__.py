"""The HTTP interface of the distribution spec: parse, ask, answer. One file a resource."""

from distserver.api.base import blueprint, create_api

__all__ = ["blueprint", "create_api"]
