"""skopeo as a node's client: through our server alone, or with our server as a mirror."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.clients.run import Client
from tests.upstreams.images import digest_of
from tests.upstreams.site import Site

ALONE = """\
[[registry]]
prefix = "{name}"
location = "{ours}/{name}"
insecure = true
"""
MIRRORED = """\
[[registry]]
prefix = "{name}"
location = "{upstream}"
insecure = true
[[registry.mirror]]
location = "{ours}/{name}"
insecure = true
"""


class Skopeo:
    """Pulls; each into a directory of its own that is gone afterwards.

    ours  HOST:PORT of our server
    """

    def __init__(self, home: Path, ours: str) -> None:
        self._client, self._home, self._ours = Client("skopeo", home), home, ours

    def pull(self, site: Site, upstream: str = "") -> str:
        """Pull a site's image; return "" if all of it came, else what skopeo said.

        upstream  HOST:PORT to go to when our server fails; "" = nowhere
        """
        work = Path(tempfile.mkdtemp(dir=self._home))
        config, into = work / "registries.conf", work / "image"
        template = MIRRORED if upstream else ALONE
        config.write_text(template.format(name=site.name, ours=self._ours, upstream=upstream))
        options = ("--registries-conf", str(config), "copy", "-q")
        try:
            done = self._client.attempt(*options, f"docker://{site.reference}", f"dir:{into}")
            if done.returncode:
                return done.stderr.strip() or f"ended with {done.returncode}"
            return _difference(site, into)
        except subprocess.TimeoutExpired as exc:
            return f"HANGS: no end within {exc.timeout} s"
        finally:
            shutil.rmtree(work)


def _difference(site: Site, into: Path) -> str:
    manifest = (into / "manifest.json").read_bytes()
    if manifest != site.image.manifest:
        return f"a COMPLETE wrong manifest: {manifest[:200]!r}"
    for item in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
        if (
            digest_of((into / item["digest"].removeprefix("sha256:")).read_bytes())
            != item["digest"]
        ):
            return f"a COMPLETE wrong {item['digest']}"
    return ""
