"""What is shown, kept as JSON and recorded for docs/promises.md of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.asking import Asked
from tests.bench.fanout import CLIENT_COUNT, FanOut, Found
from tests.bench.held import Samples
from tests.bench.outage import Outage
from tests.figures import record

OURS = "distserver"
Figure = tuple[str, str, str]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """lines = cells, the titles first; rows = as in JSON; figures = experiment, aim, figure."""

    lines: list[list[str]]
    rows: Rows
    figures: list[Figure]

    def text(self) -> str:
        """The lines with columns of equal width."""
        widths = [max(map(len, column)) for column in zip(*self.lines, strict=True)]
        padded = (
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in self.lines
        )
        return "\n".join(padded) + "\n"

    def record(self) -> None:
        """Keep the figures."""
        for experiment, aim, figure in self.figures:
            record("Speed", experiment, aim, figure)


def held_table(units: dict[str, str], samples: Samples, where: str = "") -> Table:
    """Median, spread (CPU us a request, CPU s a GB; p99) of each peer, then ratios to ours.

    where  what all scenarios are about, if it is not files
    """
    names = list(dict.fromkeys(peer for peers in samples.values() for peer in peers))
    others = [peer for peer in names if peer != OURS]
    lines = [["scenario", *names, *(f"ours/{peer}" for peer in others)]]
    rows: Rows = []
    figures: list[Figure] = []
    for name, peers in samples.items():
        row = _held_row(name, units[name], peers)
        cells = {peer: _cell(units[name], of) for peer, of in row["peers"].items()}
        ratios = {peer: f"{ratio:.2f}x" for peer, ratio in row["ratios"].items()}
        rows.append(row)
        by_peer = [cells.get(peer, "-") for peer in names]
        lines.append([name, *by_peer, *(ratios.get(peer, "-") for peer in others)])
        words = ", ".join(f"{ratio:.2f} x {peer}" for peer, ratio in row["ratios"].items())
        figures.append(
            (name + where, "reported; more than 1 x is better", f"{cells[OURS]}; {words}")
        )
    return Table(lines, rows, figures)


def fan_out_table(found: Found, megabytes: int) -> Table:
    """One line a server; the first is what the upstream gives without any proxy."""
    titles = ["server", "time", "failed", "upstream GETs", "upstream MB", "first byte p99", "CPU"]
    table = Table([[f"cold {megabytes} MB, {CLIENT_COUNT} clients", *titles, "ours"]], [], [])
    for place, servers in found.items():
        middles = {server: _median(samples) for server, samples in servers.items()}
        mine = middles[OURS].seconds
        words = []
        for server, middle in middles.items():
            spread = _spread([sample.seconds for sample in servers[server]])
            failed = sum(sample.failed for sample in servers[server])
            cells = _fan_out_cells(middle, spread, failed)
            ratio = f"{middle.seconds / mine:.2f}x"
            table.lines.append([place, server, *cells, "" if server == OURS else ratio])
            words.append(_fan_out_words(server, cells))
            row = {"place": place, "server": server, **asdict(middle), "spread": spread}
            table.rows.append(row | {"failed": failed, "ratio": middle.seconds / mine})
        goal = "0 failed; 1 GET; >= 3 x faster than distribution v3 and docker-registry"
        table.figures.append((f"{table.lines[0][0]}, {place}", goal, "; ".join(words)))
    return table


def outage_table(found: list[Outage]) -> Table:
    """One line a server and number of clients, then how each started without its upstream."""
    titles = ["server", "upstream there", "upstream gone", "p50", "p99", "worst", "failed"]
    table = Table([["held tag", *titles, "started anew"]], [], [])
    for state in dict.fromkeys(one.state for one in found):
        here = [one for one in found if one.state == state]
        for clients in here[0].gone:
            name = f"{state}, c={clients}"
            cells = {one.server: _outage_cells(one, clients) for one in here}
            table.lines.extend([name, server, *of] for server, of in cells.items())
            table.rows.extend(_outage_row(one, clients) for one in here)
            goal = "p99 <= 50 ms, >= 0.9 x the rate while it is there"
            table.figures.append((f"held tag, {name}", goal, _outage_words(cells)))
        starts = "; ".join(f"{one.server} {one.restart}" for one in here)
        table.figures.append((f"start while {state}", "starts, serves what is held", starts))
    return table


def _held_row(name: str, unit: str, peers: dict[str, Any]) -> dict[str, Any]:
    """Medians and spread of one scenario; a ratio above 1 means that ours is better."""
    found: dict[str, dict[str, float]] = {}
    for peer, samples in peers.items():
        rates = [sample.rate for sample in samples]
        found[peer] = {"median": statistics.median(rates), "spread": _spread(rates)}
        found[peer]["cpu_seconds"] = statistics.median(sample.cpu for sample in samples)
        if slow := [sample.p99 for sample in samples if sample.p99 is not None]:
            found[peer]["p99_ms"] = statistics.median(slow)
    mine = found[OURS]["median"]
    ratios = {peer: mine / of["median"] for peer, of in found.items() if peer != OURS}
    if unit in ("ms", "MB"):
        ratios = {peer: 1 / ratio for peer, ratio in ratios.items()}
    return {"scenario": name, "unit": unit, "peers": found, "ratios": ratios}


def _cell(unit: str, found: dict[str, float]) -> str:
    spread = f"±{100 * found['spread']:.0f}%"
    match unit:
        case "req":
            tail = f", p99 {found['p99_ms']:.1f} ms" if "p99_ms" in found else ""
            return f"{found['median']:,.0f}/s {spread} ({1e6 * found['cpu_seconds']:.0f} us{tail})"
        case "GB":
            return f"{found['median']:.2f} GB/s {spread} ({found['cpu_seconds']:.2f} s/GB)"
        case _:
            return f"{found['median']:.0f} {unit} {spread}"


def _median(samples: list[FanOut]) -> FanOut:
    """The sample of the median time, so that its figures belong together."""
    return sorted(samples, key=lambda sample: sample.seconds)[len(samples) // 2]


def _spread(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return (ordered[-1] - ordered[0]) / statistics.median(ordered)


def _fan_out_cells(middle: FanOut, spread: float, failed: int) -> list[str]:
    time = f"{middle.seconds:.2f} s ±{100 * spread:.0f}%"
    fetched = f"{middle.fetched / 1e6:.0f}"
    wait = f"{1000 * middle.first_byte:.0f} ms"
    return [time, str(failed), str(middle.gets), fetched, wait, f"{middle.cpu:.2f} s"]


def _fan_out_words(server: str, cells: list[str]) -> str:
    time, failed, gets, fetched, wait, cpu = cells
    about = f"{gets} GETs of {fetched} MB, first byte p99 {wait}, CPU {cpu}"
    return f"{server} {time}, {failed} failed, {about}"


def _outage_cells(one: Outage, clients: int) -> list[str]:
    there, gone = one.there[clients], one.gone[clients]
    waits = [_milliseconds(wait) for wait in (gone.quantile(0.5), gone.quantile(0.99))]
    failed = f"{100 * gone.failed / len(gone.waits):.0f}% of {len(gone.waits)}"
    rates = [f"{there.rate:,.0f}/s", f"{gone.rate:,.0f}/s"]
    return [*rates, *waits, _milliseconds(gone.waits[-1]), failed, one.restart]


def _outage_words(cells: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{server} {gone} ({there} before), p50 {p50}, p99 {p99}, worst {worst}, {failed} failed"
        for server, (there, gone, p50, p99, worst, failed, _) in cells.items()
    )


def _outage_row(one: Outage, clients: int) -> dict[str, Any]:
    about = {"server": one.server, "state": one.state, "clients": clients, "start": one.restart}
    return about | {"there": _numbers(one.there[clients]), "gone": _numbers(one.gone[clients])}


def _numbers(asked: Asked) -> dict[str, float]:
    waits = {"p50": asked.quantile(0.5), "p99": asked.quantile(0.99), "worst": asked.waits[-1]}
    return {"rate": asked.rate, "answers": len(asked.waits), "failed": asked.failed, **waits}


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
