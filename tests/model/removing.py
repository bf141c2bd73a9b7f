"""The steps of those who remove manifests: of untagged ones, and of an image that is evicted."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.storage import END, Mistake, Move, Remover, Setup, State, numbers, put


def remover_steps(setup: Setup, state: State, k: int) -> Iterator[Move]:
    """Yield what the remover may do next."""
    remover = state.removers[k]
    if remover.at != END:
        steps = UNTAGGED if remover.kind == "untagged" else EVICT
        for name, after in steps[remover.at](setup, state, k, remover):
            yield f"remover {k} {name}", after


def _list_untagged(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    """See that no tag names the manifest, and that all records are older than any push takes."""
    writers = [(i, writer) for i, writer in enumerate(state.writers) if writer.seen]
    young = any(writer.at != END for _, writer in writers)
    if _is_tagged(state) or young and Mistake.UNTAGGED_AT_ONCE not in setup.mistakes:
        return
    sees = sum(1 << i for i, _ in writers)
    after = _put(state, k, Remover("untagged", "remove", sees))
    yield f"sees untagged records of writers {numbers(sees)}", after


def _is_tagged(state: State) -> bool:
    return any(writer.tagged and state.record_of(i).seen for i, writer in enumerate(state.writers))


def _remove(setup: Setup, state: State, k: int, remover: Remover) -> Iterator[Move]:
    """Remove the records that were seen, and no others of the same manifest."""
    sees = -1 if Mistake.UNSEEN_REMOVED in setup.mistakes else remover.sees
    writers = tuple(
        writer._replace(record="gone") if sees >> i & 1 and writer.seen else writer
        for i, writer in enumerate(state.writers)
    )
    after = _put(state._replace(writers=writers), k, Remover(remover.kind, END))
    yield f"removes records of writers {numbers(remover.sees)}", after


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


def _put(state: State, k: int, remover: Remover) -> State:
    return state._replace(removers=put(state.removers, k, remover))


UNTAGGED = {"list": _list_untagged, "remove": _remove}
EVICT = {"list": _list_pulled, "blobs": _blobs, "remove": _remove}
