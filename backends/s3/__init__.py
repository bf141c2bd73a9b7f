"""Entries as objects of a bucket: AWS S3, MinIO, SeaweedFS, Ceph and what speaks as they do.

    place     which bucket, below which prefix, asked how; where an entry's object lies. No I/O
    client    one client a process; the only module that knows boto3
    quick     the question that each pull asks, made cheap
    failures  its errors become ours
    entries   what the bytes of an object mean: an entry, or a pointer to its data. No I/O
    reader    bytes of data, over connections that break
    writer    small entries in one piece, large ones in parts, under a random name
    identity  is it still the storage we know?
    backend   the six verbs
    sweep     what dead writers left
    trust     is this server one that a registry can rely on?

All but place is imported when a bucket is opened, so that others never load boto3.
"""
