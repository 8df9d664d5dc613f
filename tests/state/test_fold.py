"""A ledger may be folded at any time, by any replica, alone: nobody can tell but by the memory it takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import base, model
from state.envelope import Writer
from state.ledger import Ledger
from state.model import Part, RunFact, Wish
from tests.state.test_ledger import AUTHORS, BATCHES, World, meaning


class Folding(World):
    """Now and then a replica folds, or is replaced by one that was read back from its base."""

    def step(self) -> None:
        super().step()
        author = self.rng.choice(AUTHORS)
        if self.rng.random() < 0.3:
            self.ledgers[author].fold()

    def catch_up(self) -> None:
        for writer in self.ledgers.values():
            for other in AUTHORS:
                self.hear(writer, other)


def copy_of(world: World, of: Ledger, archived: list[str] | None = None) -> Ledger:
    """What another node would make of the base, sent and received."""
    of.fold()
    fresh = world.ledger()
    fresh.adopt(base.decode(base.encode(of.base(archived or []))))
    return fresh


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_folding_changes_no_meaning(seed: int, steps: int) -> None:
    world = Folding(seed)
    for _ in range(steps):
        world.step()
    world.catch_up()
    never = world.ledger()
    for author in AUTHORS:
        world.hear(never, author)
    meanings = [meaning(one) for one in [*world.ledgers.values(), never]]
    assert all(one == meanings[-1] for one in meanings)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 30))
def test_a_replica_goes_on_from_anothers_base(seed: int, before: int, after: int) -> None:
    """Whatever it had itself, also of authors that the other had not heard so far."""
    world = Folding(seed)
    for _ in range(before):
        world.step()
    late = world.ledger()
    for author in AUTHORS:
        for envelope in world.envelopes[author][: world.rng.randint(0, len(world.envelopes[author]))]:
            late.apply(envelope)
    source = world.ledgers[world.rng.choice(AUTHORS)]
    source.fold()
    late.adopt(base.decode(base.encode(source.base())))
    assert all(late.heads[author] >= head for author, head in source.heads.items())
    for _ in range(after):
        world.step()
    world.catch_up()
    for author in AUTHORS:
        world.hear(late, author)
    assert meaning(late) == meaning(source)
    assert meaning(copy_of(world, late)) == meaning(late)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 15))
def test_an_archived_batch_comes_back_as_it_was(seed: int, before: int, after: int) -> None:
    world = Folding(seed)
    for _ in range(before):
        world.step()
    world.catch_up()
    one = world.ledgers[AUTHORS[0]]
    name = world.rng.choice([*one.batches] or ["none"])
    rows = one.fold(over=[name])
    assert name not in one.batches
    for _ in range(after):
        world.step()  # others say more of it, and so may this one
    for author in AUTHORS:
        world.hear(one, author)
    one.thaw(rows[name])
    world.catch_up()
    assert meaning(one) == meaning(world.ledgers[AUTHORS[1]])


def told(of: Ledger) -> object:
    """Its meaning, whatever envelopes it has it from."""
    _, _, _, *facts = meaning(of)
    return facts


def written(world: World, replica: Ledger, author: Writer, batch: str) -> None:
    part = Part("t", "key", 1, 0, 1, [b"{}"], author)
    facts: list[tuple[str | None, str, model.Fact]] = [(batch, model.key_of("b", batch, 0, author), part)]
    world.envelopes[author] += replica.write(author, facts)[0]


@pytest.mark.parametrize("folded", [False, True])
def test_one_that_was_away_cannot_bring_a_dropped_batch_back(folded: bool) -> None:
    """What the others dropped is dropped; what only it had accepted stays."""
    world = World(1)
    here, away = world.ledgers[AUTHORS[0]], world.ledgers[AUTHORS[3]]
    for batch in BATCHES:
        written(world, here, AUTHORS[0], batch)
    world.hear(away, AUTHORS[0])
    if folded:
        away.fold()
    written(world, away, AUTHORS[3], "mine")
    here.fold(gone=["p"])
    changes, dropped = away.adopt(here.base())
    assert (changes, dropped) == ([], ["p"])
    assert sorted(away.batches) == ["mine", "q"]
    world.hear(here, AUTHORS[3])
    assert meaning(here) == meaning(away)


def test_what_is_archived_there_and_alive_here_is_merged() -> None:
    world = World(1)
    here, other = world.ledgers[AUTHORS[0]], world.ledgers[AUTHORS[1]]
    written(world, here, AUTHORS[0], "p")
    world.hear(other, AUTHORS[0])
    wish: tuple[str | None, str, model.Fact] = ("p", "w|p|n|b.1", Wish(1, "cancel", 1, [0]))
    other.write(AUTHORS[1], [wish])
    rows = other.fold(over=["p"])
    _, dropped = here.adopt(other.base(["p"]), rows)
    assert dropped == []
    assert [w.kind for w in here.batches["p"].tasks[0].wishes] == ["cancel"]


def test_facts_of_a_batch_that_was_archived_wait_for_it() -> None:
    world = World(1)
    here, other = world.ledgers[AUTHORS[0]], world.ledgers[AUTHORS[1]]
    written(world, here, AUTHORS[0], "p")
    world.hear(other, AUTHORS[0])
    rows = here.fold(over=["p"])
    wish: tuple[str | None, str, model.Fact] = ("p", "w|p|n|b.1", Wish(1, "retry", 1, [0]))
    for envelope in other.write(AUTHORS[1], [wish])[0]:
        here.apply(envelope)
    assert not here.batches["p"].parts
    here.thaw(rows["p"])
    assert meaning(here) == meaning(other)


@pytest.mark.parametrize("heard", [1, 2, 3, 4])
@pytest.mark.parametrize("folded", [False, True])
def test_what_was_archived_is_not_undone_by_older_updates_that_come_late(heard: int, folded: bool) -> None:
    """The archive has the newest value of a run, and its author's updates come one after another."""
    world = World(1)
    here, author = world.ledger(), AUTHORS[0]
    written(world, world.ledgers[author], author, "p")
    key = model.key_of("r", "p", 0, "submit", author)
    for state in ("running", "running", "failed", "succeeded"):
        fact: tuple[str | None, str, model.Fact] = ("p", key, RunFact((1, "a", 1), state, 1, 1))
        world.envelopes[author] += world.ledgers[author].write(author, [fact])[0]
    whole = told(world.ledgers[author])
    row = world.ledgers[author].fold(over=["p"])["p"]
    for envelope in world.envelopes[author][: 1 + heard]:
        here.apply(envelope)
    if folded:
        here.fold()
    here.thaw(row)
    assert told(here) == whole
    for envelope in world.envelopes[author][1 + heard :]:
        here.apply(envelope)
        assert told(here) == whole
    assert not here.unresolved
    here.fold()
    assert told(here) == whole


@pytest.mark.parametrize("data", [b"", b"\x91\x09", b"\x97\x63\x01\x80\x80\x80\x90\x90"])
def test_bytes_that_are_no_base_are_refused(data: bytes) -> None:
    with pytest.raises(base.BadBase):
        base.decode(data)
