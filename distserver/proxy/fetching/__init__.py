"""Brings a blob from its upstream once, for any number of readers in any process of a node.

    wanted       what is to be fetched, and from where: origin
    flights      starts the one fetch, or joins it
    fetch        fills a partial over bad links, and proves it
    partial      a blob on its way, in this node's state; writer appends to it, room bounds them all
    cold         what a client reads: it is following the partial; proof holds back the end
    uncached     past the disk, where it has no room

Nothing here knows of tags or of what clients are told.
"""
