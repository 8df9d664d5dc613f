"""Replicas of a slot are equal once they hold the same envelopes, in whatever order these came."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from state import join, ledger, model
from state.envelope import MAX_UPDATE, BadEnvelope, Envelope, Writer, decode, encode
from state.ledger import Gap, Ledger
from state.model import (
    Claim,
    Cleared,
    Ended,
    Fact,
    Finished,
    Group,
    Letter,
    Letters,
    Live,
    Outcomes,
    Part,
    Plan,
    PlannedShard,
    Progress,
    RunFact,
    Wish,
)

AUTHORS = [Writer("a.1"), Writer("b.1"), Writer("b.2"), Writer("c.7")]
BATCHES = ["p", "q"]
FactOf = tuple[str | None, str, Fact]


class World:
    """Some writers with a ledger each, and all envelopes that any of them wrote."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.ids = itertools.count(1)
        self.ledgers = {author: self.ledger() for author in AUTHORS}
        self.envelopes: dict[Writer, list[Envelope]] = {author: [] for author in AUTHORS}
        self.serial = itertools.count(1)

    def ledger(self) -> Ledger:
        return Ledger(3, lambda: next(self.ids))

    def step(self) -> None:
        author = self.rng.choice(AUTHORS)
        facts = [self.fact(author) for _ in range(self.rng.randint(1, 4))]
        produced, changes = self.ledgers[author].write(author, facts)
        assert [key for key, _ in changes] == [key for _, key, _ in facts]
        self.envelopes[author] += [decode(encode(item)) for item in produced]
        other = self.rng.choice(AUTHORS)  # now and then somebody hears what he lacks
        self.hear(self.ledgers[other], author)

    def hear(self, replica: Ledger, author: Writer) -> None:
        for envelope in self.envelopes[author][replica.heads.get(author, 0) :]:
            replica.apply(envelope)

    def fact(self, author: Writer) -> FactOf:
        rng = self.rng
        batch, index, run = rng.choice(BATCHES), rng.randrange(3), rng.choice(["submit", "again"])
        token = (rng.randint(1, 3), author.partition(".")[0], int(author.partition(".")[2]))
        n, at = next(self.serial), rng.randint(1, 5)
        state = rng.choice(["running", "failed", "succeeded"])
        name = (batch, index, run, author)
        match rng.choice("bowrpqdlxe"):
            case "b":
                start = rng.choice([0, 2])
                specs = [f'{{"n":{i}}}'.encode() for i in range(start, start + 2)]
                at = (
                    1 + (sum(author.encode()) * 3 + start) % 5
                )  # a part is immutable: the same whenever it is written
                part = Part("t", "key", at, start, 4, specs, author, "c", "name")
                return batch, model.key_of("b", batch, start, author), part
            case "o":
                group = Group(state, BitMap([index]).serialize(), read=n)
                return batch, model.key_of("o", batch, author, n), Outcomes(n, [group])
            case "w":
                kind = rng.choice(["pause", "resume", "cancel", "run"])
                return (
                    batch,
                    model.key_of("w", batch, n, author),
                    Wish(at, kind, at, [index], author, {"n": n}, f"r{n}"),
                )
            case "r":
                return batch, model.key_of("r", *name), RunFact(token, state, 1, 1, finished_ms=n)
            case "p":
                return batch, model.key_of("p", *name), Plan(token, [PlannedShard(str(n))])
            case "q":
                return batch, model.key_of("q", *name), Progress({"0": Live(token, "running", at_ms=n)})
            case "d":
                return batch, model.key_of("d", *name, n), Finished([Ended("0", token, state, at_ms=n)])
            case "l":
                letter = Letter(str(at), "0", "s", 1, "sink", "code", f"reason {n}", at, None)
                return batch, model.key_of("l", *name, n), Letters([letter])
            case "x":
                return batch, model.key_of("x", *name, n), Cleared([str(at)])
            case _:
                return None, model.key_of("e", author), Claim(n)


def meaning(of: Ledger) -> list[object]:
    """Everything that anyone could ask of the ledger, joined."""
    result: list[object] = [of.claim(), of.hash, of.content_hash()]
    for name, batch in sorted(of.batches.items()):
        result += [name, sorted(batch.present), sorted(batch.done), batch.count, sorted(batch.parts)]
        if batch.parts:
            result += [(batch.tenant, batch.name, batch.created_ms, batch.origin, batch.content)]
        result += [of.spec(name, index) for index in batch.present]
        for index in batch.done:
            outcome = batch.outcome(index)
            assert outcome is not None
            result.append((index, outcome.group.state, outcome.at_ms))
        for index, task in sorted(batch.tasks.items()):
            result += [index, join.desired(task.wishes), join.letters_of(task)]
            for run_name, run in sorted(task.runs.items()):
                result += [run_name, join.run_fact(run.facts), join.plan_of(run), join.live_shards(run)]
                result += [sorted(run.ended.items()), join.totals(run)]
    return result


def deliver(world: World, replica: Ledger) -> None:
    """All envelopes, shuffled, many twice; what comes too early is refused and comes again."""
    left = [item for items in world.envelopes.values() for item in items]
    while left:
        world.rng.shuffle(left)
        again = []
        for envelope in left:
            head = replica.heads.get(envelope.author, 0)
            if envelope.seq > head + 1:
                before = dict(replica.heads)
                with pytest.raises(Gap) as caught:
                    replica.apply(envelope)
                assert caught.value.expected == head + 1
                assert replica.heads == before
                again.append(envelope)
                continue
            assert replica.apply(envelope) is not None
            if world.rng.random() < 0.3:
                assert replica.apply(envelope) is None
        left = again


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_replicas_are_equal_whatever_the_order(seed: int, steps: int) -> None:
    world = World(seed)
    for _ in range(steps):
        world.step()
    for author, writer in world.ledgers.items():
        for other in AUTHORS:
            world.hear(writer, other)
        assert writer.heads.get(author, 0) == len(world.envelopes[author])
    replicas = [world.ledger() for _ in range(2)]
    for replica in replicas:
        deliver(world, replica)
    meanings = [meaning(one) for one in [*world.ledgers.values(), *replicas]]
    assert all(one == meanings[0] for one in meanings)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_a_restart_gives_the_same_content_and_can_be_written_to(seed: int) -> None:
    """I11: from its log a node comes back to what it was; its next life writes on."""
    world = World(seed)
    log: list[Envelope] = []
    first = world.ledgers[AUTHORS[1]]
    for _ in range(15):
        world.step()
    for author in AUTHORS:
        world.hear(first, author)
    log = [item for author in AUTHORS for item in world.envelopes[author]]
    second = world.ledger()
    for envelope in log:
        assert second.apply(envelope) is not None
    assert meaning(second) == meaning(first)
    produced, _ = second.write(Writer("b.3"), [world.fact(Writer("b.3"))])
    for envelope in produced:
        assert first.apply(envelope) is not None
    assert meaning(second) == meaning(first)


def test_an_envelope_that_an_honest_author_would_not_write_changes_nothing() -> None:
    world = World(1)
    produced, _ = world.ledgers[AUTHORS[0]].write(AUTHORS[0], [(None, "e|a.1", Claim(4))])
    (good,) = produced
    replica = world.ledger()
    bad = Envelope(good.version, good.segment, good.author, 1, good.update[:-1])
    before = meaning(replica)
    with pytest.raises(BadEnvelope):
        replica.apply(bad)
    assert meaning(replica) == before
    assert replica.apply(good) is not None
    assert replica.claim() == (4, "a", 1)


def test_a_fact_in_anothers_name_is_not_heeded() -> None:
    world = World(1)
    (forged,), _ = world.ledger().write(AUTHORS[0], [(None, "e|c.7", Claim(9))])
    replica = world.ledger()
    assert replica.apply(forged) == []
    assert replica.claim() == model.NO_TOKEN


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x93\x01", b"\x91\xa1x"])
def test_a_malformed_or_unknown_fact_is_passed_over(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    writer = world.ledger()
    facts: list[FactOf] = [
        (None, "e|a.1", Claim(9)),
        (None, "z|a.1", Claim(9)),
        ("p", "w|p|x|a.1", Wish(1, "pause", 1, [0])),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(model, "encode", lambda _: value)
        produced, _ = writer.write(AUTHORS[0], facts)
    produced += writer.write(AUTHORS[0], [(None, "e|a.1", Claim(2))])[0]
    replica = world.ledger()
    changes = [replica.apply(envelope) for envelope in produced]
    assert changes[-1] == [("e|a.1", Claim(2))]
    assert replica.claim() == (2, "a", 1)
    assert replica.content_hash() == writer.content_hash()


def test_many_facts_are_cut_into_envelopes_well_below_the_bound() -> None:
    world = World(1)
    author = AUTHORS[0]
    spec = b"x" * 10_000
    facts: list[FactOf] = [
        ("p", model.key_of("b", "p", start, author), Part("t", "k", 1, start, 200, [spec] * 10, author))
        for start in range(0, 200, 10)
    ]
    writer = world.ledger()
    produced, _ = writer.write(author, facts)
    assert len(produced) > 5
    assert all(len(item.update) <= MAX_UPDATE // 2 for item in produced)
    assert [item.seq for item in produced] == list(range(1, len(produced) + 1))
    replica = world.ledger()
    for item in produced:
        replica.apply(item)
    assert meaning(replica) == meaning(writer)


def test_a_segment_is_sealed_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SEAL_TASKS", 3)
    world = World(1)
    author = AUTHORS[0]
    writer = world.ledger()
    numbers = []
    for start in range(5):
        part = Part("t", "k", 1, 0, 2, [b"{}"] * 2, author)
        (item,), _ = writer.write(author, [(None, model.key_of("b", f"n{start}", 0, author), part)])
        numbers.append(item.segment.number)
    assert numbers == [1, 1, 2, 2, 3]


def test_specs_of_parts_that_two_nodes_cut_differently_are_all_found() -> None:
    world = World(1)
    writer = world.ledger()
    first = Part("t", "k", 1, 0, 4, [b"0", b"1", b"2", b"3"], "a")
    second = Part("t", "k", 2, 1, 4, [b"1"], "b")
    writer.write(AUTHORS[0], [("p", "b|p|0|a.1", first), ("p", "b|p|1|a.1", second)])
    assert [writer.spec("p", index) for index in range(4)] == [b"0", b"1", b"2", b"3"]
    with pytest.raises(KeyError):
        writer.spec("p", 4)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_submits_under_one_key_one_counts_with_its_spec_and_its_story(order: tuple[int, int]) -> None:
    """The one created first, although the key of its fact is the larger one."""
    late = ("p", "b|p|0|a.1", Part("t", "k", 2, 0, 1, [b"late"], "a", "of late", roots={"r": "a"}))
    soon = ("p", "b|p|0|b.1", Part("t", "k", 1, 0, 1, [b"soon"], "b", "of soon", roots={"r": "b"}))
    replica = World(1).ledger()
    for index in order:
        replica.write(AUTHORS[index], [(late, soon)[index]])
    found = replica.batches["p"]
    assert (replica.spec("p", 0), found.content, found.roots) == (b"soon", "of soon", {"r": "b"})
    assert found.lost == [(2, "a")]


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_envelope_are_refused(data: bytes) -> None:
    try:
        item = decode(data)
    except BadEnvelope:
        return
    assert 0 <= item.slot < 4096
