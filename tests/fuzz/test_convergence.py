"""I10, I11 as a state machine: ledgers that hear of each other in any order, twice, or not at all for long."""

import itertools
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from state import envelope as envelopes
from state import sync
from state.envelope import Envelope, Writer
from state.ledger import Gap, Ledger
from tests.state.test_ledger import World, meaning

WHICH = st.integers(0, 4)


class Replica:
    """A ledger and its log: what is durable of it. boot: of its present life."""

    def __init__(self, name: str, ids: "itertools.count[int]") -> None:
        self.name, self.boot, self.log = name, 1, list[Envelope]()
        self._ids = ids
        self.ledger = self.empty()
        self.inbox: list[bytes] = []

    def empty(self) -> Ledger:
        return Ledger(3, lambda: next(self._ids))

    @property
    def author(self) -> Writer:
        return Writer(f"{self.name}.{self.boot}")

    def take(self, item: Envelope) -> None:
        try:
            if self.ledger.apply(item) is not None:
                self.log.append(item)
        except Gap as gap:
            assert item.seq > gap.expected

    def restart(self) -> None:
        self.boot += 1
        self.inbox.clear()
        self.ledger = self.empty()
        for item in self.log:
            assert self.ledger.apply(item) is not None, "the log holds an envelope twice"


class Convergence(RuleBasedStateMachine):
    """All replicas take part in all slots here; whoever is cut hears nothing until a resync."""

    @initialize(count=st.integers(3, 5), seed=st.integers(0, 2**32))
    def begin(self, count: int, seed: int) -> None:
        ids = itertools.count(1)
        self.world = World(seed)
        self.rng = random.Random(seed)
        self.replicas = [Replica(chr(ord("a") + number), ids) for number in range(count)]

    def pick(self, which: int) -> Replica:
        return self.replicas[which % len(self.replicas)]

    @rule(which=WHICH, facts=st.integers(1, 4), lost=st.sets(WHICH, max_size=4))
    def write(self, which: int, facts: int, lost: set[int]) -> None:
        """Durable here, then sent to everybody; some never get it."""
        writer = self.pick(which)
        produced, _ = writer.ledger.write(
            writer.author, [self.world.fact(writer.author) for _ in range(facts)]
        )
        writer.log += produced
        for number, other in enumerate(self.replicas):
            if other is not writer and number not in lost:
                other.inbox += [envelopes.encode(item) for item in produced]

    @rule(which=WHICH, twice=st.booleans())
    def deliver(self, which: int, twice: bool) -> None:
        """One of the envelopes under way, any of them; perhaps it comes again."""
        replica = self.pick(which)
        if replica.inbox:
            at = self.rng.randrange(len(replica.inbox))
            data = replica.inbox[at] if twice else replica.inbox.pop(at)
            replica.take(envelopes.decode(data))

    @rule(which=WHICH)
    def lose(self, which: int) -> None:
        self.pick(which).inbox.clear()

    @rule(which=WHICH)
    def restart(self, which: int) -> None:
        replica = self.pick(which)
        before = meaning(replica.ledger)
        replica.restart()
        assert meaning(replica.ledger) == before, "I11: the log gives another content"

    @rule(source=WHICH, receiver=WHICH)
    def resync(self, source: int, receiver: int) -> None:
        self.bring(self.pick(source), self.pick(receiver))

    @staticmethod
    def bring(source: Replica, target: Replica) -> None:
        """What `sync` says is missing, from the log, verbatim, in the author's order."""
        for author, first, last in sync.missing(source.ledger.heads, target.ledger.heads):
            held = {item.seq: item for item in source.log if item.author == author}
            for seq in range(first, last + 1):
                target.take(envelopes.decode(envelopes.encode(held[seq])))

    @rule()
    def heal(self) -> None:
        """Everybody tells everybody, and all are one (I10)."""
        for source, target in itertools.permutations(self.replicas, 2):
            self.bring(source, target)
        for source, target in itertools.permutations(self.replicas, 2):
            self.bring(source, target)
        first, *others = [meaning(one.ledger) for one in self.replicas]
        assert all(one == first for one in others), "I10: replicas differ"

    @invariant()
    @precondition(lambda self: hasattr(self, "replicas"))
    def heads_are_what_is_logged(self) -> None:
        for replica in self.replicas:
            heads: dict[Writer, int] = {}
            for item in replica.log:
                heads[item.author] = heads.get(item.author, 0) + 1
                assert heads[item.author] == item.seq, "a gap in the log"
            assert heads == replica.ledger.heads

    def teardown(self) -> None:
        if hasattr(self, "replicas"):
            self.heal()


def test_replicas_converge_whatever_happens() -> None:
    run_state_machine_as_test(
        Convergence,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, database=None, derandomize=True
        ),
    )
