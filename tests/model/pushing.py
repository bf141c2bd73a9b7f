"""The steps of those who push and pull: a push ends with an acknowledgement, or its record goes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.storage import (
    END,
    FIRST_LOOK,
    Look,
    Mistake,
    Move,
    Reader,
    Setup,
    State,
    Writer,
    look,
    put,
)


def writer_steps(setup: Setup, state: State, i: int) -> Iterator[Move]:
    """Yield what the writer may do next."""
    writer = state.writers[i]
    if writer.at != END:
        for name, after in STEPS[writer.at](setup, state, i, writer):
            yield f"writer {i} {name}", after


def _begin(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    """Bring each content, or skip it: HEAD said that it is there, and the first check agreed."""
    manifest = setup.pushes[i]
    content = manifest[writer.item]
    last = writer.item + 1 == len(manifest)
    onward = Writer("record") if last else Writer("begin", writer.item + 1)
    there = state._replace(live=state.live | 1 << content).writer(i, onward)
    if state.live >> content & 1:
        yield f"finds {content}", there
    elif state.in_trash(content):
        yield f"restores {content}", there
    if Mistake.SHARED_DATA not in setup.mistakes:
        yield f"uploads {content}", there


def _record(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    """Write a record of its own."""
    again = "confirm" if Mistake.NO_LOOK_AGAIN in setup.mistakes else "again"
    for j, other in enumerate(state.writers):
        if other.seen and setup.pushes[j] == setup.pushes[i] and _may_count_on(setup, other):
            yield f"counts on the record of writer {j}", state.writer(i, Writer(again, uses=j))
    record = "young" if setup.late else "live"
    yield "writes its record", state.writer(i, Writer(again, record=record))


def _may_count_on(setup: Setup, other: Writer) -> bool:
    if other.pulled:
        return Mistake.PULLED_COUNTS in setup.mistakes
    if other.at == END and Mistake.OLD_COUNTS in setup.mistakes:
        return True
    return setup.shares or Mistake.SHARED_RECORD in setup.mistakes


def _again(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    """Look at every content, now that the record can be seen; restore what is in the trash."""
    items = setup.pushes[i]
    if Mistake.NO_LOOK_AT_OWN in setup.mistakes:
        items = items[:-1]
    content = items[writer.item]
    for name, result in look(setup, state, content, writer.look):
        after = state
        if result == "trash":
            after = state._replace(live=state.live | 1 << content)
        last = writer.item + 1 == len(items)
        yield f"looks again: {name}", after.writer(i, _looked(setup, writer, result, last))


def _looked(setup: Setup, writer: Writer, result: Look | str, last: bool) -> Writer:
    if isinstance(result, Look):
        return writer._replace(look=result)
    if result == "absent":
        return writer._replace(at=END if setup.shares else "retract", item=0, look=FIRST_LOOK)
    if not last:
        return writer._replace(item=writer.item + 1, look=FIRST_LOOK)
    tags = "tag" if setup.removers else "confirm"
    return writer._replace(at=tags, item=0, look=FIRST_LOOK)


def _retract(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    """Take back its own record."""
    record = "gone" if writer.record else ""
    yield "takes its record back", state.writer(i, writer._replace(at=END, record=record))


def _tag(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    yield "lets a tag name its record", state.writer(i, writer._replace(at="confirm", tagged=True))


def _confirm(setup: Setup, state: State, i: int, writer: Writer) -> Iterator[Move]:
    """Look at the record once more: it may have been removed."""
    if state.record_of(i).seen:
        yield "is acknowledged", state.writer(i, writer._replace(at=END, acked=True))
    else:
        yield "finds its record removed", state.writer(i, writer._replace(at=END))


STEPS = {
    "begin": _begin,
    "record": _record,
    "again": _again,
    "retract": _retract,
    "tag": _tag,
    "confirm": _confirm,
}


def reader_steps(setup: Setup, state: State, i: int) -> Iterator[Move]:
    """Yield what a pull may do next; without an upstream, but for what was only pulled."""
    reader = state.readers[i]
    if reader.at == "ask":
        yield from _ask(setup, state, i)
    elif reader.at == "look":
        for name, result in look(setup, state, setup.pushes[0][reader.item], reader.look):
            yield f"reader {i} {name}", _reader(state, i, _read(setup, reader, result))


def _ask(setup: Setup, state: State, i: int) -> Iterator[Move]:
    """Ask for the manifest: one that is given has all its content."""
    pledged = any(
        writer.acked and manifest == setup.pushes[0]
        for writer, manifest in zip(state.writers, setup.pushes, strict=True)
    )
    if pledged or state.writers[0].pulled and state.writers[0].seen:
        given = "robbed" if any(map(state.lost, setup.pushes[0])) else "look"
        after = _reader(state, i, Reader(given, pledged=pledged))
        yield f"reader {i} is given the manifest", after


def _read(setup: Setup, reader: Reader, result: Look | str) -> Reader:
    if isinstance(result, Look):
        return reader._replace(look=result)
    if result == "absent":
        return Reader("refused" if reader.pledged else END)
    if reader.item + 1 == len(setup.pushes[0]):
        return Reader(END)
    return reader._replace(item=reader.item + 1, look=FIRST_LOOK)


def _reader(state: State, i: int, reader: Reader) -> State:
    return state._replace(readers=put(state.readers, i, reader))
