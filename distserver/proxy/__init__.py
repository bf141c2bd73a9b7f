"""Read-through: a registry around a registry that fetches what is missing from an upstream.

    registry     puts them together: a Blobs around a Blobs; manifests, referrers, tags likewise
    namespaces   the one name that a repository has here, however a client spells it
    sources      who may be asked for a repository, and what clients are told
    freshness    when a held tag was last validated
    completion   knows what is whole; begun what is not; bringing brings the rest of it,
                 completer does so in the background
    upstream     asks an upstream
    fetching     brings a blob from one, once for everybody

Views and storage do not know that it exists.
"""
