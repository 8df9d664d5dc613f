"""Facts that nobody could use are passed over where they are read, so that no listing or steward stumbles over them."""

from typing import Any

import msgspec
import pytest

from node.stewardship.specs import check, effective
from state import join, model
from state.document import Document
from state.envelope import VERSION, Envelope, SegmentId, Writer, writer_boot
from state.ledger import Ledger
from state.model import LOST, Claim, Ended, Fact, Finished, Part, RunFact, Wish

EVIL = Writer("b.1")
SPEC = b'{"source":{"plugin":"csv","path":"x"},"sink":[{"plugin":"jsonl","path":"y"}]}'
PART = Part("t", "k", 1, 0, 2, [SPEC, SPEC], "b")


def told(*facts: tuple[str, Fact], by: Writer = EVIL) -> tuple[Ledger, list[str]]:
    """A ledger that takes what the author wrote, and the keys of which it makes something."""
    document, reader = Document(1), Ledger(3, lambda: 2, check)
    seen = []
    for seq, (key, fact) in enumerate(facts, 1):
        update = document.set({key: model.encode(fact)}, author=by)
        changes = reader.apply(Envelope(VERSION, SegmentId(3, by, 1), by, seq, update))
        seen += [key for key, _ in changes or ()]
    return reader, seen


def part(**changes: Any) -> Part:
    return msgspec.structs.replace(PART, **changes)


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        ("b|p|0|b.1", part(specs=[SPEC, b"{}"])),
        ("b|p|0|b.1", part(specs=[SPEC, b"x"])),
        ("b|p|0|b.1", part(specs=[SPEC, b"[" * 50_000])),
        ("b|p|0|b.1", part(specs=[SPEC, b"\xff"])),
        ("b|p|0|b.1", part(specs=[SPEC[:-1] + b',"priority":"x"}'])),
        ("b|p|0|b.1", part(start=-1)),
        ("b|p|0|b.1", part(created_ms=1 << 62)),
        ("w|p|1|b.1", Wish(1, "pause", 1, [-1])),
        ("w|p|1|b.1", Wish(1, "pause", 1, [1 << 32])),
        ("w|p|1|b.1", Wish(1 << 63, "pause", 1, [0])),
        ("w|p|1|b.1", Wish(1, "replace", 1, [0], arguments={"spec": b"x"})),
        ("w|p|1|b.1", Wish(1, "limits", 1, [0], arguments={"limits": {"rate": "x"}})),
        ("r|p|-1|0-submit|b.1", RunFact((1, "b", 1), "running", 1, 1)),
        ("r|p|9999999999|0-submit|b.1", RunFact((1, "b", 1), "running", 1, 1)),
        ("r|p|0|0-submit|b.1", RunFact((-1, "b", 1), "running", 1, 1)),
        ("r|p|0|0-submit|b.1", RunFact((1, "b", 1), "running", 1, 1, finished_ms=1 << 52)),
        ("d|p|0|0-submit|b.1|0", Finished([Ended("s", (1, "b", 1 << 60), "done")])),
        ("e|b.1", Claim(1 << 62)),
    ],
)
def test_what_nobody_could_use_is_passed_over(key: str, fact: Fact) -> None:
    """Each listing, and `collect cluster`, was answered 500 from then on, after restarts too."""
    ledger, seen = told((key, fact))
    assert seen == []
    assert ledger.claim() == model.NO_TOKEN
    assert not any(batch.parts or batch.tasks for batch in ledger.batches.values())


@pytest.mark.parametrize("boot", ["x", "", "-1", "99999999999999999999"])
def test_a_claim_of_no_life_is_none(boot: str) -> None:
    author = Writer(f"b.{boot}")
    ledger, seen = told((f"e|{author}", Claim(1)), by=author)
    assert (seen, ledger.claim()) == ([], model.NO_TOKEN)
    with pytest.raises(ValueError, match=r"boot|invalid literal"):
        writer_boot(author)


def test_what_all_can_use_is_taken() -> None:
    wish = Wish(1, "limits", 1, [0, (1 << 32) - 1], arguments={"limits": {"rate": 5.0}})
    keys = ("b|p|0|b.1", "w|p|1|b.1", "e|b.1")
    ledger, seen = told(*zip(keys, (PART, wish, Claim(1 << 53)), strict=True))
    assert seen == list(keys)
    assert ledger.spec("p", 1) == SPEC


@pytest.mark.parametrize("later", [part(specs=[b"x", b"y"]), part(specs=[SPEC]), part(count=-1)])
def test_a_part_that_its_author_spoils_later_leaves_tasks_that_can_be_read(later: Part) -> None:
    ledger, seen = told(("b|p|0|b.1", PART), ("b|p|0|b.1", later))
    assert "b|p|0|b.1" in seen
    assert ledger.spec("p", 1) == LOST
    assert effective(LOST, join.NOTHING_DESIRED).spec.source["plugin"] == "lost"
    with pytest.raises(KeyError):
        ledger.spec("p", 2)
