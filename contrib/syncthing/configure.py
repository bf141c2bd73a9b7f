#!/usr/bin/env python3
"""Let Syncthing copy distserver's storage to and from other nodes; run it as the user distserver.

    configure.py                                        make this node's keys, print its device ID
    configure.py ID=tcp://node2:22000 ID=tcp://node3:22000        the other nodes, as they printed

Writes the folder, the devices, and what Syncthing may ask of the world (nothing: no discovery, no
relays, no upgrades) into its config.xml, and .stignore into the storage. Other settings stay. Start
Syncthing again afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

FOLDER = "distserver"
GENERATE_SECONDS = 60
FOLDER_SETTINGS = {
    "type": "sendreceive",
    "fsWatcherEnabled": "true",
    "fsWatcherDelayS": "1",
    "rescanIntervalS": "3600",
    "ignorePerms": "true",
}
OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "urAccepted": "-1",
    "autoUpgradeIntervalH": "0",
    "crashReportingEnabled": "false",
    "startBrowser": "false",
    "reconnectionIntervalS": "5",
}


def main() -> None:
    """Do what the arguments say."""
    given = arguments()
    if not any((given.storage / "_store").glob("*")):
        sys.exit(f"{given.storage} has no identity: is it mounted? Else: distserver init")
    file = given.home / "config.xml"
    if not file.exists():
        generate(given.home)
    tree = ET.parse(file)  # noqa: S314  # Syncthing's own file
    own = own_id(given.home)
    configure(tree.getroot(), given, own)
    new = file.with_suffix(".new")
    tree.write(new)
    new.chmod(0o600)
    new.replace(file)
    shutil.copyfile(Path(__file__).with_name("stignore"), given.storage / ".stignore")
    (given.storage / ".stfolder").mkdir(exist_ok=True)
    print(own)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*", metavar="ID=tcp://HOST:PORT", type=peer)
    parser.add_argument("--home", type=Path, default="/var/lib/distserver/syncthing")
    parser.add_argument("--storage", type=Path, default="/var/lib/distserver/storage")
    parser.add_argument("--listen", default="tcp://0.0.0.0:22000", help="for the other nodes")
    parser.add_argument("--gui", default="127.0.0.1:8384", help="address of Syncthing's own page")
    parser.add_argument(
        "--max-kib", type=int, default=0, help="KiB a second that copying may take of the link"
    )
    return parser.parse_args()


def peer(text: str) -> tuple[str, str]:
    """Read ID=ADDRESS. Raises: ArgumentTypeError."""
    device, equals, address = text.partition("=")
    if not equals or len(device) != 63 or "://" not in address:
        raise argparse.ArgumentTypeError(f"{text!r} is not DEVICE-ID=tcp://HOST:PORT")
    return device, address


def generate(home: Path) -> None:
    """Make keys and a first configuration."""
    environ = {**os.environ, "STNODEFAULTFOLDER": "1"}
    command = ["syncthing", "generate", f"--home={home}"]
    subprocess.run(  # noqa: S603
        command, env=environ, check=True, stdout=subprocess.DEVNULL, timeout=GENERATE_SECONDS
    )


def own_id(home: Path) -> str:
    """Return the ID of this node, which is that of its certificate."""
    command = ["syncthing", "serve", f"--home={home}", "--device-id"]
    done = subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, text=True, timeout=GENERATE_SECONDS
    )
    return done.stdout.strip()


def configure(root: ET.Element, given: argparse.Namespace, own: str) -> None:
    """Write the folder, its devices and the options."""
    for device, address in given.peers:
        element = replaced(root, "device", device, compression="never")
        ET.SubElement(element, "address").text = address
    path = str(given.storage.absolute())
    folder = replaced(root, "folder", FOLDER, label="distserver", path=path, **FOLDER_SETTINGS)
    for device in (own, *(device for device, _ in given.peers)):
        ET.SubElement(folder, "device", id=device)
    limit = str(given.max_kib)
    limits = {"maxSendKbps": limit, "maxRecvKbps": limit, "limitBandwidthInLan": "true"}
    for name, value in {**OPTIONS, **limits, "listenAddress": given.listen}.items():
        put(part(root, "options"), name, value)
    put(part(root, "gui"), "address", given.gui)


def part(root: ET.Element, name: str) -> ET.Element:
    """Return a part of the configuration, made if it is not there."""
    found = root.find(name)
    return ET.SubElement(root, name) if found is None else found


def replaced(root: ET.Element, kind: str, name: str, **attributes: str) -> ET.Element:
    """Return a new element of an id, in the place of an older one."""
    for old in [element for element in root.findall(kind) if element.get("id") == name]:
        root.remove(old)
    return ET.SubElement(root, kind, id=name, **attributes)


def put(parent: ET.Element, name: str, value: str) -> None:
    """Set the text of an element that is there once."""
    for old in parent.findall(name):
        parent.remove(old)
    ET.SubElement(parent, name).text = value


if __name__ == "__main__":
    main()
