"""Reads images out of files: bytes first, then what they are called.

streams, tar, archive                 files in any packing, read forwards, within bounds
layout, dockerarchive, registrydir    what each kind of archive says that it has
bringing                              bytes into the storage
publishing                            names, when all of an archive is found whole
load                                  all of it, for what a path names
"""
