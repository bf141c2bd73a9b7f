"""Garbage collection: content that nobody needs goes, online, beside any number of servers.

    mark       what is needed: all that live manifests name
    census     which manifests a mark saw: a later one that lacks some of them is not believed
    leases     records that keep content which no manifest names yet
    runs       who took what into the trash, and when
    collector  one run, in the order that was searched for counter-examples (docs/adr)
    untagged   manifests without a tag, where they shall not stay for ever
    explain    why something is kept
    schedule   the runs of a server, one at a time

Neither clocks nor the lease of a run are part of why this is safe: they only decide how often
something has to be brought back.
"""

from distserver.registry.gc.collector import Limits, Report, collect

__all__ = ["Limits", "Report", "collect"]
