"""`distserver preload`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from distserver import app, naming
from distserver.bundle.images import Image, parse_image
from distserver.bundle.lock import Locked, render
from distserver.bundle.preloading.charts import ListInvalid
from distserver.bundle.preloading.here import Here
from distserver.bundle.preloading.lists import Listed, read_list
from distserver.bundle.preloading.plan import Failure, Place
from distserver.bundle.preloading.platforms import machine_platform, parse_platforms
from distserver.bundle.preloading.preload import NoSpace, Preload, Wanted
from distserver.bundle.preloading.there import Everywhere, There
from distserver.cli.common import configured, require_owner
from distserver.cli.pins import pins_of, references
from distserver.cli.preload_report import Report
from distserver.config import Config, Loaded
from distserver.evicting.pins import Pins
from distserver.metrics import Metrics
from distserver.oci.errors import RegistryError
from distserver.proxy.upstream import silence
from distserver.proxy.upstream.connect import upstreams_of
from distserver.proxy.upstream.mode import Mode

Platforms = tuple[str, ...]
OFFLINE = (
    "The mode is offline: nothing is fetched, only looked whether it is here."
    " `distserver mode online` lets it come."
)
RESUME = "What has come stays; the same command goes on where this one stopped."


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--from",
    "lists",
    multiple=True,
    metavar="FILE",
    help="Images of a list, a lock file, Kubernetes manifests or a Helm chart; - = standard input.",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH",
    help="Such as linux/arm64; several times for several, or all.  [default: the key platforms,"
    " else this machine's]",
)
@click.option("--server", metavar="URL", help="Let this running server fetch them.")
@click.option("--lock", metavar="FILE", help="Write what is complete: name:tag@digest, bytes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured()
def preload(  # noqa: PLR0913  # each is an option
    loaded: Loaded,
    images: tuple[str, ...],
    lists: tuple[str, ...],
    platforms: tuple[str, ...],
    server: str | None,
    lock: str | None,
    as_json: bool,
) -> None:
    """Fetch images while there is a network.

    To serve them when there is none. Through the configured upstreams, straight into the storage;
    a server may run beside it. With signatures and referrers. An entirely empty storage is
    initialised. Run it again after an interruption: what is held is not fetched again, and a part
    of a layer is gone on with.

    \b
    distserver preload nginx:1.27 registry.k8s.io/pause:3.10
    distserver preload --from images.txt --platform linux/amd64 --platform linux/arm64
    distserver preload --from manifests/app.yaml --from charts/app-1.2.tgz --lock site.lock
    helm template app ./app -f site.yaml | distserver preload --from -
    distserver preload --from site.lock                exactly those digests
    distserver preload --from images.txt --server http://10.0.0.5:5000

    A list has one image a line; # begins a comment. Names without a host mean docker.io. The lock
    file is such a list, and no file is written without --lock.

    With --server, every byte passes through this command too, and is checked. A password for it
    comes from ~/.netrc (or the file that NETRC names), its CA from REQUESTS_CA_BUNDLE.

    Exit codes: 0 all is here, 1 something is missing (it is named), 2 wrong use.
    """
    logging.getLogger("distserver").setLevel(logging.WARNING)
    listed = _listed(images, lists, lock)
    chosen = _platforms(platforms) if platforms else None
    site = _Site(loaded.config, server)
    site.check(images)
    report = Report(as_json)
    wanted = site.wanted(listed, chosen, report)
    report.images = len(wanted) + report.missing
    run = Preload(site.place(), report.tick)
    site.pin(each.image for each in wanted)
    try:
        for outcome in run.run(wanted):
            report.outcome(outcome)
    except (NoSpace, Failure) as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        click.echo(f"\nstopped. {RESUME}", err=True)
        sys.exit(1)
    report.summary(run.meter)
    if lock:
        site.write_lock(Path(lock), report.complete)
    if report.missing:
        click.echo(RESUME, err=True)
        sys.exit(1)


class _Site:
    """Where images go, and how they are called there.

    server  URL of a running server; None = this node's storage
    """

    def __init__(self, config: Config, server: str | None) -> None:
        self._config, self._server = config, server
        self._pins: Pins | None = None
        self._own, self._upstreams = naming.own_names(config), upstreams_of(config)
        if server:
            if not server.startswith(("http://", "https://")):
                raise click.UsageError("--server is http://HOST:PORT or https://HOST:PORT")
            self._upstreams = Everywhere(self._upstreams.configured, self._upstreams.policy)

    def place(self) -> Place:
        """Open it. Raises: StorageError, ClickException."""
        if self._server:
            return There(self._server)
        mode = Mode(Path(self._config.state), self._config.mode)
        if mode.offline:
            click.echo(OFFLINE, err=True)
        require_owner(self._config)
        app.initialise_storage(self._config)
        silence.keep(mode)
        made = app.open_proxied(self._config, mode, Metrics())
        self._pins = pins_of(made.registry)
        return Here(made)

    def check(self, images: Sequence[str]) -> None:
        """Refuse arguments that name no image; of a list, they cost only themselves."""
        for name in images:
            try:
                parse_image(name, self._upstreams, self._own)
            except RegistryError as exc:
                raise click.UsageError(f"{name!r}: {exc.message}") from exc

    def wanted(
        self, listed: Sequence[Listed], platforms: Platforms | None, report: Report
    ) -> list[Wanted]:
        """Read the names; report those that are none."""
        default = self._config.platforms or (machine_platform(),)
        found: dict[Image, list[Platforms]] = {}
        for one in listed:
            said = default if one.platforms is None else one.platforms
            try:
                image = parse_image(one.name, self._upstreams, self._own)
            except RegistryError as exc:
                report.lacks(one.name, exc.message)
            else:
                found.setdefault(image, []).append(said if platforms is None else platforms)
        return [Wanted(image, _together(sets)) for image, sets in found.items()]

    def pin(self, images: Iterable[Image]) -> None:
        """Let images of this node's storage stay: before they come, so that none goes meanwhile.

        Raises: StorageError.
        """
        for reference in (each for image in images for each in references(image)):
            if self._pins:
                self._pins.add(reference)

    def write_lock(self, path: Path, complete: Sequence[Locked]) -> None:
        """Write a lock file, whole or not at all. Raises: OSError."""
        text = "".join(f"{line}\n" for line in render(map(self._named, complete)))
        new = path.with_name(f"{path.name}.new")
        new.write_text(text)
        new.replace(path)

    def _named(self, locked: Locked) -> Locked:
        """The image under a name that means the same when it is read again."""
        image = locked.image
        if self._upstreams.of_repository(image.name):
            return locked
        return replace(locked, image=replace(image, name=f"{naming.OWN_NAME}/{image.name}"))


def _listed(images: Sequence[str], lists: Sequence[str], lock: str | None) -> list[Listed]:
    """Return all images that are named, each once. Raises: ClickException."""
    if not images and not lists:
        raise click.UsageError("name an image, or a list with --from")
    if lock and any(Path(lock).resolve() == Path(one).resolve() for one in lists):
        raise click.UsageError("--lock would overwrite a list that --from reads")
    try:
        named = [listed for source in lists for listed in read_list(source)]
    except ListInvalid as exc:
        raise click.UsageError(str(exc)) from exc
    found = list(dict.fromkeys([*map(Listed, images), *named]))
    if not found:
        raise click.UsageError("the lists name no image")
    return found


def _platforms(texts: Sequence[str]) -> Platforms:
    try:
        return parse_platforms(texts)
    except ValueError as exc:
        raise click.UsageError(f"--platform: {exc}") from exc


def _together(sets: Sequence[Platforms]) -> Platforms:
    """All platforms that several lists ask of an image; empty = all there are."""
    return tuple(dict.fromkeys(p for one in sets for p in one)) if all(sets) else ()
