"""Read-through: a registry around a registry that fetches what is missing from an upstream.

    upstreams    which upstreams there are: a closed list, built in and configured
    namespaces   the one name that a repository has here, however a client spells it
    challenge    what a WWW-Authenticate header asks for

Views and storage do not know that it exists.
"""
