"""Speed against nginx, distribution v3 and docker-registry in one run: a command.

Judges nothing, fails on errors. Each round does every scenario on every peer in turn; peers idle
while another one works. Servers are pinned to the first core, the clients to the last one, unless
a row says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.fanout import fan_out
from tests.bench.held import held
from tests.bench.hot import hot, hot_table
from tests.bench.objects import on_objects
from tests.bench.outage import outages
from tests.bench.report import Table, fan_out_table, held_table, outage_table
from tests.bench.scenarios import QUICK, Sizes

RESULTS = Path(__file__).parent.parent.parent / "build" / "bench"
PROGRAMS = ("nginx", "registry", "docker-registry", "wrk", "minio")
PARTS: dict[str, Callable[[Path, Sizes], Table]] = {
    "held": lambda scratch, sizes: held_table(*held(scratch, sizes)),
    "hot": lambda scratch, sizes: hot_table(*hot(scratch, sizes)),
    "objects": lambda scratch, sizes: held_table(*on_objects(scratch, sizes), ", to MinIO"),
    "fan-out": lambda scratch, sizes: fan_out_table(fan_out(scratch, sizes), sizes.fanned >> 20),
    "outage": lambda scratch, sizes: outage_table(outages(scratch, sizes)),
}


def main() -> int:
    """Measure, write JSON and print the tables; return the exit code."""
    arguments = _arguments()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (`make components` installs them)")
        return 1
    sizes = QUICK if arguments.quick else Sizes()
    tables = {}
    for name in arguments.only or PARTS:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
            tables[name] = PARTS[name](Path(scratch), sizes)
    _write(tables, arguments.directory, sizes)
    for table in tables.values():
        print(table.text())
        if not arguments.quick:
            table.record()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
    parser.add_argument("--directory", default=memory, help=f"where stores lie ({memory})")
    return parser.parse_args()


def _write(tables: dict[str, Table], directory: str, sizes: Sizes) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    about = {"sizes": vars(sizes), "directory": directory, "cores": os.cpu_count()}
    rows = {name: table.rows for name, table in tables.items()}
    path.write_text(json.dumps({**about, **rows}, indent=1) + "\n")
    print(f"written: {path.relative_to(RESULTS.parent.parent)}\n")


if __name__ == "__main__":
    sys.exit(main())
