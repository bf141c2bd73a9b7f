"""Asks an upstream: where, whether, with which credentials, for how long, and what came of it.

    table        which upstreams there are: a closed list, built in and configured
    connect      makes the uplink of each
    uplink       the base URLs of one in order, each with a breaker; limits, mode;
                 seats for clients that wait
    registry     the questions that a registry answers, and what of an answer is believed
    auth         tokens; challenge parses what asks for them, credentials and ecr have the secrets,
                 realms says where those may go
    client       requests, redirects, TLS; attempt bounds what one may take
    errors       how it can fail
    silence      sees that nothing is asked while the mode is offline

Nothing here stores what it gets.
"""
