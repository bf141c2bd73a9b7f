"""Eviction: what was pulled from upstreams goes again, so that a cache keeps to its room.

    pulls       when each image was last pulled here
    published   the same of the other nodes of the storage
    pins        images that are never evicted, by pattern
    kubernetes  images of the pods of the cluster
    inuse       images that run somewhere, from there or from a list
    images      which images of upstreams are held, and what they have
    room        how much has to go
    evict       which images go, and how
    standing    what the last look found, for people and metrics
    loop        one process of a node looks again and again

An image goes only when its upstream says, just now, that it has that very digest.
"""
