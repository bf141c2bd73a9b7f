"""Images in and out without a registry's clients: lists, preloading, archives, lock files.

    images     an image as people name it, and its name here
    lists      which images a file names; charts asks helm
    lock       what a site has: one image a line, with digest, platforms and size
    plan       what an image consists of, for some platforms: platforms
    preload    brings many, here (this node's storage, by the proxy) or there (another server)

Out of archives:
    streams, tar, archive                 files in any packing, read forwards, within bounds
    layout, dockerarchive, registrydir    what each kind of archive says that it has
    naming                                where that goes, and what ours is called elsewhere
    bringing, publishing, loading         bytes first, then what they are called

Into bundles:
    contents, packing                     what an image has here, and what is attached to it
    saving, parts                         that as a tar, in files of a limited size
"""
