"""Completes in the background what was begun, in one process of the node at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backends.errors import StorageError
from distserver.oci.digests import Digest
from distserver.oci.errors import ManifestUnknown, RegistryError
from distserver.oci.manifests import Manifest, parse_manifest
from distserver.proxy.background import Jobs
from distserver.proxy.begun import Task, upstream_of
from distserver.proxy.bringing import Bringing
from distserver.proxy.completion import members
from distserver.proxy.fetching.room import NoRoom
from distserver.proxy.sources import Source
from distserver.proxy.upstream.errors import UpstreamCorrupt, UpstreamError, UpstreamOffline
from distserver.registry.locks import election

log = logging.getLogger(__name__)

PARALLEL = 4
"""Images of one upstream at once."""
LOOK_SECONDS = 0.5
ELECT_SECONDS = 5.0
SWEEP_SECONDS = 3600.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 30.0
CORRUPT_PAUSE_SECONDS = 600.0
"""Wrong bytes may be gigabytes: nobody asks for them again and again over a thin link."""
FORESEEN = (UpstreamError, NoRoom, StorageError, RegistryError, OSError)


@dataclass(frozen=True, slots=True)
class Try:
    """When a task is due again, the pause before that, and why it failed."""

    due: float
    pause: float
    error: str


FIRST_TRY = Try(0.0, 0.0, "")


class Completer:
    """Looks for what was begun, and works on it until it is whole.

    platforms  of an index, the members for these come too
    sweep      removes what is too old in the state directory
    """

    def __init__(
        self, bringing: Bringing, platforms: Collection[str], sweep: Callable[[], None]
    ) -> None:
        self._bringing, self._platforms, self._sweep = bringing, platforms, sweep
        self._begun = bringing.begun
        self._jobs: dict[str, Jobs[None]] = defaultdict(partial(Jobs, "complete", PARALLEL))
        self._tries: dict[Path, Try] = {}
        self._swept = 0.0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, in a thread. Call it after fork."""
        threading.Thread(target=self._run, name="completer", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing any more, and let another process complete: this one is about to end."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with election(self._begun.directory / "lock") as elected:
                    while elected and not self._stopped.wait(LOOK_SECONDS):
                        self._look()
            except OSError as exc:
                log.warning("nothing is completed in the background: %s", exc)
            except Exception:  # the thread would end, and nothing ever be completed again
                log.exception("nothing is completed in the background, by a fault of ours")
            self._stopped.wait(ELECT_SECONDS)

    def _look(self) -> None:
        """Start what is due, as much as may run at once. Raises: OSError."""
        paths = self._begun.paths()
        self._tries = {path: self._tries[path] for path in paths if path in self._tries}
        now = time.monotonic()
        for path in paths:
            if now >= self._tries.get(path, FIRST_TRY).due:
                # By upstream, so that one that stands still holds up no other.
                self._jobs[upstream_of(path)].start(path, partial(self._try, path))
        if now > self._swept + SWEEP_SECONDS:
            self._swept = now
            self._sweep()

    def _try(self, path: Path) -> None:
        """Work on one task; where that fails, put it off."""
        task = None
        try:
            if task := self._begun.read(path):
                self._finish(task)
            path.unlink(missing_ok=True)
        except Exception as exc:  # what nobody foresaw too: else the next look tries it again
            self._put_off(path, task, exc)

    def _finish(self, task: Task) -> None:
        source = self._bringing.sources.of(task.name)
        if source is None:
            return
        try:
            self._complete(task, source)
            log.info("complete: %s@%s", task.name, task.digest)
        except ManifestUnknown as exc:
            log.info("not completed, it is not here any more: %s", exc.detail)

    def _put_off(self, path: Path, task: Task | None, error: Exception) -> None:
        last = self._tries.get(path, FIRST_TRY)
        if str(error) != last.error:
            name = f"{task.name}@{task.digest}" if task else path
            fault = None if isinstance(error, FORESEEN) else error
            level = logging.ERROR if fault else logging.INFO
            log.log(level, "%s is not complete yet: %s", name, error, exc_info=fault)
        pause = min(max(2 * last.pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        if isinstance(error, UpstreamOffline):
            pause = FIRST_PAUSE_SECONDS
        elif isinstance(error, UpstreamCorrupt):
            pause = CORRUPT_PAUSE_SECONDS
        self._tries[path] = Try(time.monotonic() + pause, pause, str(error))

    def _complete(self, task: Task, source: Source) -> None:
        manifests, digest = self._bringing.manifests, Digest.parse(task.digest)
        stored = manifests.held(task.name, digest)
        manifest = parse_manifest(stored.data, stored.media_type)
        self._bring_blobs(task.name, source, manifest)
        for child in members(manifest, self._platforms):
            manifests.get(task.name, child.digest)
        if task.signatures:
            self._bringing.signatures(task.name, digest)

    def _bring_blobs(self, name: str, source: Source, manifest: Manifest) -> None:
        """Bring what can be brought, and only then raise what hindered the rest."""
        failure: UpstreamError | NoRoom | None = None
        for blob in manifest.blobs:
            try:
                self._bringing.blob(source, name, blob)
            except (UpstreamError, NoRoom) as exc:
                failure = failure or exc
        if failure:
            raise failure
