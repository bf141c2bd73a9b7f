"""The background scrub: finds rot before anybody needs the bytes, and has it mended.

pace       how fast it reads
progress   where it is, and what it found: a small file in the state directory
mending    makes damaged content good again, from wherever good bytes are
passes     one pass over everything
worker     the thread, in one process of a node at a time
"""

from distserver.registry.scrub.mending import Mender, Need, Source
from distserver.registry.scrub.progress import Progress, read_progress
from distserver.registry.scrub.worker import Plan, Scrubber

__all__ = ["Mender", "Need", "Plan", "Progress", "Scrubber", "Source", "read_progress"]
