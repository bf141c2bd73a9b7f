"""The steps of those who remove manifests: of untagged ones, and of an image that is evicted."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.storage import END, Mistake, Move, Remover, Setup, State, Writer, numbers, put


def remover_steps(setup: Setup, state: State, k: int) -> Iterator[Move]:
    """Yield what the remover may do next."""
    remover = state.removers[k]
    if remover.at != END:
        steps = UNTAGGED if remover.kind == "untagged" else EVICT
        for name, after in steps[remover.at](setup, state, k, remover):
            yield f"remover {k} {name}", after


def _untagged(state: State, among: int = -1) -> int:
    """Return the writers whose records no tag names."""
    found = (w.seen and not w.tagged for w in state.writers)
    return sum(1 << i for i, untagged in enumerate(found) if untagged) & among


def _list_untagged(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    sees = _untagged(state)
    if sees:
        at = "remove" if Mistake.UNTAGGED_AT_ONCE in setup.mistakes else "announce"
        yield (
            f"sees untagged records of writers {numbers(sees)}",
            _put(state, k, Remover("untagged", at, sees)),
        )


def _announce(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    """Announce it, so that a push that tags later does not count on the record."""
    after = _put(state, k, remover._replace(at="look again"))
    yield "announces their removal", _records(after, remover.sees, "doomed")


def _look_again(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    """What was tagged meanwhile stays."""
    still = _untagged(state, remover.sees)
    after = _records(state, remover.sees & ~still, "live")
    after = _put(after, k, remover._replace(at="remove", sees=still))
    yield f"sees still untagged: {numbers(still)}", after


def _remove(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    after = _put(state, k, Remover(remover.kind, END))
    yield (
        f"removes the records of writers {numbers(remover.sees)}",
        _records(after, remover.sees, "gone"),
    )


def _list_pulled(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    """Only what came from an upstream, and was not pushed as well, is evicted."""
    if any(w.seen and not w.pulled for w in state.writers):
        yield "sees that it was pushed", _put(state, k, Remover("evict", END))
    else:
        sees = sum(1 << i for i, w in enumerate(state.writers) if w.seen)
        at = "blobs" if Mistake.BLOBS_FIRST in setup.mistakes else "remove"
        yield (
            f"sees pulled records of writers {numbers(sees)}",
            _put(state, k, Remover("evict", at, sees)),
        )


def _blobs(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    blobs = sum(1 << content for content in setup.pushes[0])
    after = state._replace(live=state.live & ~blobs)
    yield "deletes the blobs", _put(after, k, remover._replace(at="remove"))


def _records(state: State, which: int, record: str) -> State:
    """Mark records; one that its writer took back stays gone."""

    def changed(i: int, writer: Writer) -> Writer:
        return writer._replace(record=record) if which >> i & 1 and writer.seen else writer

    return state._replace(writers=tuple(changed(i, w) for i, w in enumerate(state.writers)))


def _put(state: State, k: int, remover: Remover) -> State:
    return state._replace(removers=put(state.removers, k, remover))


UNTAGGED = {
    "list": _list_untagged,
    "announce": _announce,
    "look again": _look_again,
    "remove": _remove,
}
EVICT = {"list": _list_pulled, "blobs": _blobs, "remove": _remove}
