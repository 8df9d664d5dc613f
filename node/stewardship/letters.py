"""Dead letters as facts: their ids, and what a replay does to them."""

import hashlib
import json
from collections.abc import Iterable, Iterator

import msgspec

from node.execution.jobs import DeadLetter
from node.portions import in_portions
from state import join
from state.entries import TaskFacts
from state.join import Request
from state.model import Letter


def letter_id(run: str, shard: str, position: object) -> str:
    """The same for the same record of the same run, whoever sets it aside, however often."""
    text = json.dumps([run, shard, position], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def letters_from(run: str, reported: Iterable[DeadLetter], attempt: int, at_ms: int) -> list[Letter]:
    """Letters of a run over a source."""
    return [
        Letter(
            id=letter_id(run, letter.shard, letter.position),
            shard=letter.shard,
            stream=letter.stream,
            position=letter.position,
            step=letter.step,
            code=letter.code,
            reason=letter.reason,
            at_ms=at_ms,
            record=letter.record,
            attempts=attempt,
        )
        for letter in reported
    ]


PORTION = 256 << 10
"""Bytes of letters in one fact, about; a larger record is kept as the beginning of its JSON."""


def in_facts(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """Those of one fact each."""
    return in_portions(map(_shortened, letters), _size, PORTION)


def _size(letter: Letter) -> int:
    return len(msgspec.json.encode(letter.record))


def _shortened(letter: Letter) -> Letter:
    record = msgspec.json.encode(letter.record)
    if len(record) <= PORTION:
        return letter
    head = record[: PORTION // 4].decode(errors="replace")
    return msgspec.structs.replace(letter, record={"truncated": head, "bytes": len(record)})


def superseded(facts: TaskFacts, run: str, root: str) -> list[str]:
    """Ids of the letters of other runs than `run`, which began as `root`, and what was tried of it before: a full run
    that takes the place of what they have brought has met the same records, and a replay would bring them twice.
    """
    roots = {
        name: (fact.origin if (fact := join.run_fact(run.facts)) else "") or name
        for name, run in facts.runs.items()
    }
    return [letter.id for name, letter in join.letters_of(facts) if name != run and roots[name] != root]


def left(request: Request, facts: TaskFacts) -> list[dict[str, object]]:
    """The letters of a replay, but for those that an earlier replay has brought home: two may ask for the same."""
    listed = {letter.id for _, letter in join.letters_of(facts)}
    return [item for item in request.arguments.get("letters", ()) if item.get("id") in listed]


def records(request: Request, facts: TaskFacts) -> tuple[object, ...]:
    """What an executor replays, in the order of the request; None in the place of a letter that is home.

    So each keeps its number, which is its position, in every attempt. A null goes as text: that is no record either.
    """
    waiting = {item["id"] for item in left(request, facts)}
    return tuple(
        ("null" if item["record"] is None else item["record"]) if item.get("id") in waiting else None
        for item in request.arguments.get("letters", ())
    )


def replayed(request: Request, reported: Iterable[DeadLetter]) -> set[str]:
    """Ids of the letters that a replay set aside again. Its positions count the letters of the request from 1."""
    originals, again = request.arguments.get("letters", ()), set()
    for letter in reported:
        index = letter.position[0] if isinstance(letter.position, list | tuple) else letter.position
        if isinstance(index, int) and 1 <= index <= len(originals):
            again.add(str(originals[index - 1].get("id", "")))
    return again
