"""`distserver serve`."""

from __future__ import annotations

import functools
import sys

import click

from backends.errors import StorageError
from distserver import app
from distserver.cli.common import configured
from distserver.config import Loaded


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to serve; port 0 takes any free one.")
@click.option("--workers", type=int, metavar="N", help="Processes; 0 = one for each core.")
@click.option("--init", is_flag=True, help="Initialise the storage first if it is entirely empty.")
@configured("listen", "workers")
def serve(loaded: Loaded, init: bool) -> None:
    """Serve the registry until a signal ends it.

    On loopback anyone may push. Elsewhere anyone may pull; a push needs a user of the users file
    (see `distserver user`) or allow_anonymous_push.

    A storage that is not there yet does not hinder the start: the server is unready until it comes.
    SIGTERM lets transfers finish (graceful_timeout_seconds), then ends.

    \b
    distserver serve --init --storage ./storage --state ./state
    distserver serve --listen 0.0.0.0:5000 --config /etc/distserver/config.toml
    """
    from distserver.server.run import run

    config = loaded.config
    if init or app.initialises_by_itself(config):
        try:
            app.initialise_storage(config)
        except StorageError as exc:
            click.echo(f"not initialised: {exc}", err=True)
    sys.stdout.flush()
    run(config, functools.partial(app.create_app, config))
