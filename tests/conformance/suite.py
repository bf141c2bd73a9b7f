"""One run of the OCI conformance suite, and what its report says."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300.0
_PREFIX = "OCI Conformance Test/"
_OFF_BEFORE_1_1 = "not a part of version 1.0"
_NOT_IN_RELEASE = "the suite asks for it only in versions after 1.1"
_MOUNTS = ("sha256 blobs/mount anonymous", "sha512 blobs/mount anonymous")
_CANCELS = ("sha256 blobs/post cancel", "sha512 blobs/post cancel")
_REFERRERS = ("empty", "artifacts-with-subject", "index-with-subject", "missing-subject")

KNOWN_SKIPS: dict[str, dict[str, str]] = {
    "1.0": {
        **{f"{name}/blob-mount-anonymous": _OFF_BEFORE_1_1 for name in _MOUNTS},
        **{f"{name}/blob-post-cancel": _NOT_IN_RELEASE for name in _CANCELS},
        **{f"{name}/referrers": _OFF_BEFORE_1_1 for name in _REFERRERS},
    },
    "1.1": {
        **{f"{name}/blob-post-cancel": _NOT_IN_RELEASE for name in _CANCELS},
    },
    "dev": {},
}


@dataclass(frozen=True)
class Report:
    """Outcome of one run; failed and skipped carry the suite's own words by case."""

    passed: int
    failed: dict[str, str]
    skipped: dict[str, str]

    def unexpected_skips(self, version: str) -> list[str]:
        """Names of skipped cases that KNOWN_SKIPS gives no reason for."""
        return sorted(set(self.skipped) - set(KNOWN_SKIPS[version]))


def run_suite(host: str, version: str, directory: Path) -> Report:
    """Run the suite of a version against HOST:PORT.

    Raises: FileNotFoundError if the suite is not installed, subprocess.TimeoutExpired after
    SECONDS, RuntimeError with its output if it leaves no report.
    """
    directory.mkdir(parents=True)
    environ = {
        **os.environ,
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_VERSION": version,
        "OCI_REPO1": "conformance/one",
        "OCI_REPO2": "conformance/two",
        "OCI_RESULTS_DIR": str(directory),
    }
    ended = subprocess.run(
        ["conformance"], env=environ, cwd=directory, capture_output=True, text=True, timeout=SECONDS
    )
    path = directory / "junit.xml"
    if not path.exists():
        raise RuntimeError(f"the suite left no report:\n{ended.stdout}{ended.stderr}")
    report = parse(path.read_text())
    if ended.returncode and not report.failed:
        raise RuntimeError(f"the suite ended with {ended.returncode}:\n{ended.stderr}")
    return report


def parse(text: str) -> Report:
    """Read a junit.xml. A case that neither passed nor was skipped has failed."""
    passed, failed, skipped = 0, {}, {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        name = case.get("name", "").removeprefix(_PREFIX)
        words = "\n".join(child.text or "" for child in case)
        match (case.get("status") or "").lower():
            case "success" | "passed" | "pass":
                passed += 1
            case "skipped" | "disabled" | "skip":
                skipped[name] = words
            case _:
                failed[name] = words
    return Report(passed, failed, skipped)
