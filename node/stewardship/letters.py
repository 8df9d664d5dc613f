"""Dead letters as facts: their ids, and what a replay does to them."""

import hashlib
import json
from collections.abc import Iterable

from node.execution.jobs import DeadLetter
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


def replayed(originals: list[dict[str, object]], reported: Iterable[DeadLetter]) -> set[str]:
    """Ids of the originals that a replay set aside again. A replay's positions count its letters from 1."""
    again = set()
    for letter in reported:
        index = letter.position[0] if isinstance(letter.position, list | tuple) else letter.position
        if isinstance(index, int) and 1 <= index <= len(originals):
            again.add(str(originals[index - 1].get("id", "")))
    return again
