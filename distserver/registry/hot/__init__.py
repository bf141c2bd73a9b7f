"""A hot tier: copies on a node's own disk of what lies in a storage elsewhere.

    filling   a copy on its way
    tier      a bounded directory of copies, named by digest
    content   content that is read from copies, and makes them
    facts     what the storage last said of names
    recall    what can be served from both while the storage is away
    pulls     the parts of a registry that do so

The storage is asked first, always; copies only save its bytes while it answers. While it does not,
what was pulled here within a bounded time goes on being pulled, and nothing else.
"""

from distserver.registry.hot.content import HotContent
from distserver.registry.hot.facts import Facts
from distserver.registry.hot.pulls import recalling
from distserver.registry.hot.recall import Recall
from distserver.registry.hot.tier import Tier

__all__ = ["Facts", "HotContent", "Recall", "Tier", "recalling"]
