"""Read-through: a registry around a registry that fetches what is missing from an upstream.

    upstreams    which upstreams there are: a closed list, built in and configured
    namespaces   the one name that a repository has here, however a client spells it
    challenge    what a WWW-Authenticate header asks for
    realms       where credentials may go
    credentials  where they come from
    partial      a blob on its way, in this node's state
    fetch        fills a partial over bad links, and proves it
    flights      one fetch for any number of readers of a node
    blobs        a Blobs around a Blobs; manifests likewise; registry puts them together
    completion   brings the layers of what was pulled, and knows what is whole
    sources      who may be asked for a repository, and what clients are told
    breaker      what this node knows of an upstream's state; freshness: of its tags
    upstream_*   requests to an upstream, its tokens, and how they can fail

Views and storage do not know that it exists.
"""
