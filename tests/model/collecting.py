"""The steps of a run of the collector: mark, condemn, list the trash, mark again, restore or purge.

There is no grace and no hold here, so nothing rests on a clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.storage import END, Collector, Mistake, Move, Setup, State, members, numbers, put

MARKS = {"mark": "marks", "mark again": "marks again:"}


def collector_steps(setup: Setup, state: State, j: int) -> Iterator[Move]:
    """Yield what the run may do next."""
    run = state.collectors[j]
    if run.at != END:
        for name, after in STEPS[run.at](setup, state, j, run):
            yield f"run {j} {name}", after


def manifests(setup: Setup) -> list[tuple[int, ...]]:
    return sorted(set(setup.pushes))


def contents(setup: Setup) -> range:
    return range(1 + max(map(max, setup.pushes)))


def _mark(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """List the records of one manifest; what it names is in use if there is one."""
    manifest = manifests(setup)[run.item]
    for seen in _listings(setup, state, manifest):
        if seen is None:
            yield "misses a record that the census knows, and aborts", state.collector(j, done(run))
            continue
        marked = run.marked | (sum(1 << c for c in manifest) if seen else 0)
        last = run.item + 1 == len(manifests(setup))
        after = _after_mark(setup, run) if last else run.at
        item = 0 if last else run.item + 1
        yield (
            f"{MARKS[run.at]} {manifest} {'in use' if seen else 'not in use'}",
            state.collector(j, run._replace(at=after, item=item, marked=marked)),
        )


def _listings(setup: Setup, state: State, manifest: tuple[int, ...]) -> Iterator[bool | None]:
    """Yield what a listing may say: a record is there or not; None = it cannot be believed."""
    records = [
        writer.record
        for writer, pushed in zip(state.writers, setup.pushes, strict=True)
        if pushed == manifest and writer.seen
    ]
    yield bool(records) and not set(records) <= {"young"}
    if "young" in records:
        yield True
    if setup.lies and manifest == setup.pushes[0] and state.writers[0].seen:
        yield False if Mistake.NO_CENSUS in setup.mistakes else None


def _condemn(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Take one content that is not in use to the trash."""
    content = run.item
    onward = _condemned(setup, run)
    if run.marked >> content & 1 or not state.live >> content & 1:
        yield f"leaves {content}", state.collector(j, onward)
    elif setup.atomic:
        after = _gone(setup, state.collector(j, onward), content)
        yield f"moves {content} to the trash", _trashed(setup, after, j, content)
    else:
        after = _trashed(setup, state.collector(j, run._replace(at="delete")), j, content)
        yield f"links {content} into the trash", after


def _delete(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """End a condemnation by two steps."""
    after = state.collector(j, _condemned(setup, run))
    yield f"deletes {run.item}", _gone(setup, after, run.item)


def _condemned(setup: Setup, run: Collector) -> Collector:
    """Go on to the next content, or to what follows the last."""
    if run.item + 1 < len(contents(setup)):
        return run._replace(at="condemn", item=run.item + 1)
    return run._replace(at="marker", item=0, marked=0)


def _gone(setup: Setup, state: State, content: int) -> State:
    stale = state.stale | (1 << content if setup.late else 0)
    return state._replace(live=state.live & ~(1 << content), stale=stale)


def _trashed(setup: Setup, state: State, j: int, content: int) -> State:
    name = _name(setup, j)
    run = state.collectors[name]
    return state.collector(name, run._replace(trash=run.trash | 1 << content))


def _name(setup: Setup, j: int) -> int:
    return 0 if Mistake.ONE_TRASH_NAME in setup.mistakes else j


def _marker(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Say that nothing of this run will be deleted any more: others may purge its trash."""
    after = "mark again" if Mistake.LATE_LIST in setup.mistakes else "list"
    yield "writes its marker", state.collector(j, run._replace(at=after, moved=True))


def _list(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """List the trash: only what is listed now can be purged."""
    early = Mistake.ADOPTED_EARLY in setup.mistakes
    runs = sum(1 << k for k, other in enumerate(state.collectors) if early or other.moved)
    listed = tuple(state.in_trash(content) & runs for content in contents(setup))
    names = "; ".join(f"of {content}: {numbers(found)}" for content, found in enumerate(listed))
    if not any(listed):
        yield "lists the trash: nothing", state.collector(j, done(run))
    else:
        after = run._replace(at=_after_list(setup), listed=listed)
        yield f"lists the trash {names}", state.collector(j, after)


def _after_list(setup: Setup) -> str:
    if {Mistake.LATE_LIST, Mistake.NO_SECOND_MARK} & setup.mistakes:
        return "settle"
    late = setup.late and Mistake.NO_WAIT not in setup.mistakes
    return "wait" if late else "mark again"


def _after_mark(setup: Setup, run: Collector) -> str:
    if run.at == "mark":
        return "condemn"
    return "list" if Mistake.LATE_LIST in setup.mistakes else "settle"


def _wait(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Begin to wait as long as listings and lookups can be late."""
    young = sum(1 << i for i, w in enumerate(state.writers) if w.record == "young")
    after = run._replace(at="waiting", waited=(young, state.stale))
    yield "begins to wait", state.collector(j, after)


def _waiting(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """End the wait: what was so before it is seen by all. It is done twice."""
    young, stale = run.waited
    writers = tuple(
        w._replace(record="live") if young >> i & 1 and w.record == "young" else w
        for i, w in enumerate(state.writers)
    )
    first = run.item == 0 and Mistake.SHORT_WAIT not in setup.mistakes
    after = run._replace(at="wait", item=1) if first else run._replace(at="mark again", item=0)
    state = state._replace(writers=writers, stale=state.stale & ~stale)
    yield "has waited", state.collector(j, after._replace(waited=(0, 0)))


def _settle(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Decide about one content that was listed."""
    content = run.item
    if not run.listed[content]:
        yield f"has nothing of {content}", state.collector(j, _onward(setup, run))
    elif not run.marked >> content & 1:
        yield from _purge(setup, state, j, run._replace(at="purge"))
    elif not state.live >> content & 1:
        yield f"finds no {content}", state.collector(j, run._replace(at="restore"))
    else:
        yield f"finds {content}", state.collector(j, _purge_others(setup, j, run))


def _purge_others(setup: Setup, j: int, run: Collector) -> Collector:
    """Its live name is there: entries of other runs may go, its own in a later run."""
    own = 0 if Mistake.OWN_PURGED in setup.mistakes else 1 << _name(setup, j)
    others = run.listed[run.item] & ~own
    if not others:
        return _onward(setup, run)
    return run._replace(at="purge", listed=put(run.listed, run.item, others))


def _restore(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Give one content its live name back; of what it is restored from, nothing is purged now."""
    content = run.item
    for source in members(run.listed[content]):
        if state.in_trash(content) >> source & 1:
            purges = {Mistake.OWN_PURGED, Mistake.RESTORED_PURGED} & setup.mistakes
            after = _purge_others(setup, j, run) if purges else _onward(setup, run)
            restored = state._replace(live=state.live | 1 << content)
            yield f"restores {content} from the trash of run {source}", restored.collector(j, after)
        else:
            after = _without(setup, run, source)
            yield f"finds {content} gone from the trash of run {source}", state.collector(j, after)


def _purge(setup: Setup, state: State, j: int, run: Collector) -> Iterator[Move]:
    """Delete one entry of the trash for ever."""
    content = run.item
    for source in members(run.listed[content]):
        purged = state.collector(j, _without(setup, run, source))
        entry = purged.collectors[source]
        purged = purged.collector(source, entry._replace(trash=entry.trash & ~(1 << content)))
        if Mistake.SHARED_DATA in setup.mistakes:
            purged = purged._replace(live=purged.live & ~(1 << content))
        yield f"purges {content} from the trash of run {source}", purged


def _without(setup: Setup, run: Collector, source: int) -> Collector:
    """Have done with one of the entries that were listed, in any order."""
    rest = run.listed[run.item] & ~(1 << source)
    return run._replace(listed=put(run.listed, run.item, rest)) if rest else _onward(setup, run)


def _onward(setup: Setup, run: Collector) -> Collector:
    if run.item + 1 == len(contents(setup)):
        return done(run)
    return run._replace(at="settle", item=run.item + 1, listed=put(run.listed, run.item, 0))


def done(run: Collector) -> Collector:
    """End a run: only what it stored is left of it."""
    return Collector(END, trash=run.trash, moved=run.moved)


STEPS = {
    "mark": _mark,
    "condemn": _condemn,
    "delete": _delete,
    "marker": _marker,
    "list": _list,
    "wait": _wait,
    "waiting": _waiting,
    "mark again": _mark,
    "settle": _settle,
    "restore": _restore,
    "purge": _purge,
}
