"""Builds distserver's own image without Docker: a tarball that every container runtime imports.

    python3 contrib/image/build.py --arch amd64 --output distserver-0.1.0-amd64.tar

Two layers: a few Debian packages, unpacked and never configured (so no code of another architecture
runs here), and our wheels. With SOURCE_DATE_EPOCH the same packages give the same bytes.
Needs mmdebstrap, pip, and a Python of a version that a Debian release has: byte code is made here.
What Debian's packages can bring is installed when root asks, and named when somebody else does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from archive import Image, write_archive
from layers import app_layer, base_layer

ROOT = Path(__file__).resolve().parents[2]
SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
"""The Debian release with this Python."""
SOURCE = ("distserver", "backends", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
"""Built from a copy: a build in place takes along what an older one left behind."""
PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64"}
PACKAGES = (
    *("base-files", "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libbz2-1.0", "liblzma5"),
    *("libffi8", "libexpat1", "libuuid1", "libcrypt1", "libsqlite3-0", "busybox-static"),
)
NEEDED = {
    "/usr/bin/mmdebstrap": "mmdebstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
"""Files that a build needs, and the packages that have them."""
BOTOCORE_KEPT = ("ecr", "s3", "sts", "sso", "sso-oidc", "ecr-public")
"""Amazon's services that we speak to; botocore describes four hundred."""
COMPILE = ("-m", "compileall", "-qq", "-x", "lib2to3/tests", "--invalidation-mode=unchecked-hash")
"""Byte code halves the time that a start takes, and nothing can be written into the image later."""
EPOCH = 1577836800
"""The date of all files unless SOURCE_DATE_EPOCH says another: 2020-01-01."""


def main() -> None:
    """Build the image that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=PLATFORMS, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if sys.version_info[:2] not in SUITES:
        known = ", ".join(f"{major}.{minor}" for major, minor in SUITES)
        sys.exit(f"build.py: run it with Python {known}; no Debian release has {sys.version}")
    install_needed()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        build(arguments.arch, Path(scratch), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


def install_needed() -> None:
    """Install what a build needs, or end with words that say what is missing."""
    missing = [package for file, package in NEEDED.items() if not Path(file).exists()]
    if not missing:
        return
    command = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit(f"build.py: missing: {', '.join(missing)}. As root: {' '.join(command)}")
    _run(*command)


def build(arch: str, scratch: Path, output: Path) -> None:
    """Build one image in an empty directory. Raises: CalledProcessError, OSError."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH))
    root, app = scratch / "root.tar", scratch / "app"
    bootstrap(arch, root)
    version = install(arch, app, scratch)
    image = Image("distserver.internal/distserver", version, arch, epoch)
    layers = [base_layer(root, scratch / "base", epoch), app_layer(app, scratch / "app.gz", epoch)]
    write_archive(image, layers, output)


def bootstrap(arch: str, output: Path) -> None:
    """Unpack Debian packages into a tar."""
    major, minor = sys.version_info[:2]
    python = f"python{major}.{minor}"
    wanted: tuple[str, ...] = (*PACKAGES, "python3-minimal", f"{python}-minimal", python)
    wanted += (f"lib{python}-minimal", f"lib{python}-stdlib", "libssl3")
    compiling = f'{sys.executable} {" ".join(COMPILE)} -s "$1" "$1/usr/lib/{python}"'
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--arch={arch}"]
    command += [f"--include={','.join(wanted)}", f"--extract-hook={compiling}"]
    _run(*command, SUITES[major, minor], str(output))


def install(arch: str, target: Path, scratch: Path) -> str:
    """Put our wheel and what it needs into a directory; return our version."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, source = scratch / "wheels", scratch / "source"
    for part in SOURCE:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy(ROOT / part, source)
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (ours,) = wheels.glob("distserver-*.whl")
    machine = PLATFORMS[arch]
    where = ["--target", str(target), "--no-compile", "--only-binary=:all:"]
    where += [f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"]
    _run(*pip, "install", *where, "--constraint", str(ROOT / "constraints.txt"), str(ours))
    _prune(target)
    _run(sys.executable, *COMPILE, "-s", str(target), "-p", "/opt/distserver", str(target))
    return ours.name.split("-")[1]


def _prune(target: Path) -> None:
    """Leave out what a server never reads."""
    for data in (target / "botocore" / "data", target / "boto3" / "data"):
        for service in data.iterdir():
            if service.is_dir() and service.name not in BOTOCORE_KEPT:
                shutil.rmtree(service)
    for directory in (target / "boto3" / "examples", target / "bin"):
        shutil.rmtree(directory, ignore_errors=True)
    for record in (*target.glob("*.dist-info/RECORD"), *target.glob("*.dist-info/direct_url.json")):
        record.unlink()  # they hold the name of this machine's directory


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=900)  # noqa: S603  # ours, word by word


if __name__ == "__main__":
    main()
