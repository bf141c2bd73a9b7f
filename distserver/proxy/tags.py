"""The list of tags that an upstream has: a Tags around a Tags."""

from __future__ import annotations

import logging

from distserver.oci.errors import NameUnknown
from distserver.oci.names import Tag
from distserver.proxy.sources import Sources, told
from distserver.proxy.upstream.errors import UpstreamAbsent, UpstreamError
from distserver.proxy.upstream.uplink import Question
from distserver.registry import Registry
from distserver.registry.tags import Tags

log = logging.getLogger(__name__)

KNOWN_SECONDS, UNKNOWN_SECONDS = 2.0, 20.0
"""How long the upstream is asked where tags are held, and where none are."""


class ProxiedTags(Tags):
    """Lists what the upstream lists and what is held; resolves only what is held."""

    def __init__(self, registry: Registry, sources: Sources) -> None:
        super().__init__(registry.backend, registry.records)
        self._sources = sources

    def names(self, name: str) -> set[Tag]:
        """See Tags.names. Raises: also Denied, ServiceUnavailable where no tag is held."""
        held, source = super().names(name), self._sources.of(name)
        if source is None:
            return held
        try:
            seconds = KNOWN_SECONDS if held else UNKNOWN_SECONDS
            question: Question[set[Tag]] = lambda r: r.tags(source.repository)  # noqa: E731
            with source.uplink.limits.seats.take():
                there = source.uplink.ask_soon((name, "tags"), question, seconds)
        except UpstreamAbsent:
            return held
        except UpstreamError as exc:
            if not held:
                raise told(exc, NameUnknown(detail={"name": name})) from exc
            log.info("tags of %s as they are held: %s", name, exc.reason)
            return held
        return held | there
