"""What a node answers about tasks that have left its memory."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from node.serving.driver import Driver
from node.verification.answers import Answers
from sharding.key import parse
from state.ledger import Ledger
from tests.node.stewardship.desk import Desk, facts_of, spec


class Shelf:
    """The archive of a driver: one ledger that is not in the core's memory."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.archive = self

    def names(self, slot: int) -> list[str]:
        return sorted(self._ledger.batches) if slot == self._ledger.slot else []

    def read(self, slot: int, batch: str) -> Ledger | None:
        return self._ledger if batch in self.names(slot) else None


async def test_archived_tasks_are_told() -> None:
    writer, reader = Desk("a"), Desk("b")
    writer.join()
    able = msgspec.structs.replace(facts_of("a"), plugins={"collector:solo": "1", "sink:jsonl": "1"})
    writer.core.receive(writer.name, able, writer.now, writer.wall)
    (task,) = writer.submit(spec(sink=[{"plugin": "jsonl", "path": "out"}]))
    writer.end(writer.one("solo", task), written=7)
    writer.step()
    assert writer.state(task) == "succeeded"
    at = parse(task)
    assert at is not None
    shelf = Shelf(writer.core.replicator.ledger(at.slot))
    answers = Answers(reader.core, cast(Driver, SimpleNamespace(keeping=shelf)))
    told: dict[str, Any] = await answers.tasks({"slots": list(range(8)), "after": [-1, "", -1]})
    assert [(shown["id"], shown["written"]) for shown in told["tasks"]] == [(task, {"0-submit": 7})]
