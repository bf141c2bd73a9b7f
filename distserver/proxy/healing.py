"""Good bytes from upstreams, for what is damaged or missing here: by digest, so nothing is new."""

from __future__ import annotations

import logging
from itertools import islice

from backends.errors import StorageError
from distserver.oci.errors import RegistryError
from distserver.proxy.bringing import Bringing
from distserver.proxy.fetching.room import NoRoom
from distserver.proxy.sources import Source
from distserver.proxy.upstream.errors import UpstreamError
from distserver.registry.content import Content
from distserver.registry.scrub import Need

log = logging.getLogger(__name__)

MAX_TRIES = 3
"""Repositories of one digest whose upstreams are asked."""


class FromUpstreams:
    """A source for scrub.Mender.

    content  what is stored, good copies go there
    """

    def __init__(self, bringing: Bringing, content: Content) -> None:
        self._bringing, self._content = bringing, content

    def __call__(self, need: Need) -> str:
        """Return the upstream that brought it, "" if none did."""
        sources = ((name, self._bringing.sources.of(name)) for name in need.names)
        known = ((name, source) for name, source in sources if source)
        for name, source in islice(known, MAX_TRIES):
            try:
                source.uplink.require_online()
                self._bring(need, name, source)
            except (UpstreamError, NoRoom, StorageError, RegistryError) as exc:
                log.info("%s is not mended from %s: %s", need.digest, source.upstream.name, exc)
            else:
                return f"from the upstream {source.upstream.name}"
        return ""

    def _bring(self, need: Need, name: str, source: Source) -> None:
        if not self._bringing.manifests.has(name, need.digest):
            self._bringing.flights.finish(source.wanted(need.digest, background=True))
            return
        fetched = source.uplink.ask(lambda r: r.manifest(source.repository, need.digest))
        self._content.put(need.digest, [fetched.body])
