"""The command line: one file a group of commands, all over the same configuration."""

from __future__ import annotations

import logging

import click

from distserver import __version__
from distserver.cli import (
    bundle,
    doctor,
    gc,
    image,
    inspect,
    nodes,
    pins,
    preload,
    purge,
    repair,
    replica,
    save,
    serve,
    storage,
    upstreams,
    users,
    verify,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """An OCI image registry that keeps clusters pulling when the link to the world is gone.

    Start with:  distserver serve --init --storage ./storage --state ./state

    Every command reads /etc/distserver/config.toml (or --config), then DISTSERVER_* variables, then
    its flags. `distserver config` shows what is in force and where each value came from.

    Exit codes: 0 done, 1 failed, 2 wrong use.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


for command in (
    serve.serve,
    storage.init,
    storage.check_storage,
    storage.config,
    preload.preload,
    inspect.ls,
    inspect.rm,
    verify.verify,
    gc.gc,
    gc.gc_only,
    gc.gc_agree,
    purge.purge,
    pins.pin,
    pins.unpin,
    bundle.load,
    save.save,
    image.image,
    replica.replica,
    repair.repair,
    upstreams.upstreams,
    upstreams.mode,
    users.user,
    nodes.node_config,
    doctor.doctor,
):
    main.add_command(command)
