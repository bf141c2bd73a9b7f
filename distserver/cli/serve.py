"""`distserver serve`."""

from __future__ import annotations

import sys

import click

from backends.errors import StorageError
from distserver import app
from distserver.cli.common import configured
from distserver.config import Loaded


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to serve; port 0 takes any free one.")
@click.option("--workers", type=int, metavar="N", help="Processes; 0 = one for each core.")
@click.option("--offline", "mode", flag_value="offline", help="Open no socket to any upstream.")
@click.option("--init", is_flag=True, help="Initialise the storage first if it is entirely empty.")
@configured("listen", "workers", "mode")
def serve(loaded: Loaded, init: bool) -> None:
    """Serve the registry until a signal ends it.

    On loopback anyone may push. Elsewhere anyone may pull; a push needs a user of the users file
    (see `distserver user`) or allow_anonymous_push.

    A storage that is not there yet does not hinder the start: the server is unready until it comes.
    SIGTERM lets transfers finish (graceful_timeout_seconds), then ends. SIGHUP reads the
    configuration again: new workers serve by it, old ones finish what they have begun.

    Images of upstream registries are fetched when somebody asks for them, by `?ns=HOST` as
    containerd sends it, or by a name that begins with the host: docker.io/library/alpine.
    See `distserver upstreams` and `distserver mode`.

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
    run(loaded, app.create_server_app)
