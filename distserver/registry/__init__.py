"""What a registry is: repositories of blobs, manifests and tags over the six verbs of a backend.

`Registry` bundles the parts that the views ask; each part is one file:

    content     bytes under their digest, with chunk hashes, verified when read
    records     the right of a repository to something: added, never changed, removed by addition
    blobs       blobs that a repository may read
    uploads     sessions, as entries
    manifests   manifests of a repository, and the order of a push
    pulled      the same for manifests that come from an upstream
    tags        append-only versions of a tag
    referrers   who names this digest as its subject
    catalog     which repositories there are
    janitor     what nobody will finish

Nothing here knows of HTTP; errors are those of oci.errors and backends.errors.
"""

from distserver.registry.local import Registry, local_registry

__all__ = ["Registry", "local_registry"]
