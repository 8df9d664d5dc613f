"""The rules one by one: who must agree, how long a holder counts, how long a voter waits, what a small epoch gets."""

import random

import msgspec

from gossip.identity import Boot, NodeId
from node import messages
from node.effects import Send
from node.leases.acceptor import FLOOR, Acceptor
from node.leases.core import LeaseConfig, Leases
from node.leases.proposer import Result
from node.leases.wire import Ask, Known, LeaseToken, PlainMap, Told

TTL = 15.0
MARGIN = 2.0


def take(epoch: int, writer: str, boot: int = 1) -> Ask:
    return Ask(1, "take", "x", (epoch, writer, boot), TTL)


def plain(names: str) -> PlainMap:
    return [(name, 1.0, "") for name in names]


def test_a_voter_waits_ttl_and_margin_and_a_restarted_one_again() -> None:
    voter = Acceptor()
    assert voter.handle(NodeId("a"), take(1, "a"), 100.0).ok
    assert not voter.handle(NodeId("b"), take(2, "b"), 100.0 + TTL + MARGIN - 0.01).ok
    assert voter.handle(NodeId("b"), take(2, "b"), 100.0 + TTL + MARGIN).ok
    again = Acceptor()
    again.load(voter.promises["x"])
    again.start(500.0)
    assert not again.handle(NodeId("c"), take(3, "c"), 500.0 + TTL + MARGIN - 0.01).ok
    assert again.handle(NodeId("c"), take(3, "c"), 500.0 + TTL + MARGIN).ok


def test_a_voter_refuses_an_epoch_that_is_not_above_its_promise() -> None:
    voter = Acceptor()
    assert voter.handle(NodeId("a"), take(5, "a"), 0.0).ok
    late = 1000.0
    assert not voter.handle(NodeId("b"), take(4, "b"), late).ok
    assert not voter.handle(NodeId("b"), take(5, "b"), late).ok, "an equal epoch of another writer"
    assert not voter.handle(NodeId("a"), take(5, "a", boot=2), late).ok, "or of another life"
    assert voter.handle(NodeId("b"), take(6, "b"), late).ok


def test_what_is_undone_late_does_not_undo_a_later_grant() -> None:
    voter = Acceptor()
    first = take(5, "a")
    assert voter.handle(NodeId("a"), first, 0.0).ok
    assert voter.handle(NodeId("a"), msgspec.structs.replace(first, round=2), 0.1).ok
    voter.handle(NodeId("a"), Ask(1, "undo", "x", first.token), 0.2)
    assert not voter.handle(NodeId("b"), take(6, "b"), 1.0).ok


def test_a_lock_that_was_forgotten_gets_no_smaller_epoch() -> None:
    voter = Acceptor()
    asked = Ask(1, "take", "lock/t/one", (7, "a", 1), TTL)
    assert voter.handle(NodeId("a"), asked, 100.0).ok
    voter.forget(100.0 + TTL + MARGIN + 9.9, 10.0)
    assert "lock/t/one" in voter.promises, "too early"
    voter.forget(100.0 + TTL + MARGIN + 10.0, 10.0)
    assert set(voter.promises) == {FLOOR}
    after = Acceptor()
    for promise in voter.promises.values():
        after.merge([promise], 200.0)
    for one in (voter, after):
        told = one.handle(NodeId("b"), msgspec.structs.replace(asked, token=(7, "b", 1)), 200.0)
        assert (told.ok, told.promised) == (False, 7)
        assert one.handle(NodeId("b"), msgspec.structs.replace(asked, token=(8, "b", 1)), 200.0).ok


def test_the_lease_of_a_slot_is_never_forgotten() -> None:
    voter = Acceptor()
    assert voter.handle(NodeId("a"), take(1, "a"), 0.0).ok
    voter.forget(1e6, 0.0)
    assert "x" in voter.promises


class Proposal:
    """Node `a` asks for a lease; it knows the map of `names` alone."""

    def __init__(self, names: str) -> None:
        self.leases = Leases(
            NodeId("a"), Boot(1), LeaseConfig(ttl=TTL), replicas=3, slots=1, rng=random.Random(1)
        )
        self.leases.load(msgspec.msgpack.encode(Known([plain(names)], settled=True)))
        self.leases.start(100.0)
        self.results: list[Result] = []
        token: LeaseToken = (0, "a", 1)
        self.leases.propose("take", "x", 0, token, self.results.append, ttl=TTL, now=100.0)
        self.asked = self.flush()

    def flush(self) -> dict[str, int]:
        """Whom it asks, and the number of the request."""
        sent = [e for e in self.leases.flush() if isinstance(e, Send)]
        return {e.to: e.message.items[0].round for e in sent if isinstance(e.message, messages.LeaseAsk)}

    def grant(self, voter: str, maps: list[PlainMap], now: float = 100.5) -> None:
        number = next(iter(self.asked.values()))
        self.leases.receive(NodeId(voter), messages.LeaseTold([Told(number, True, 1)], maps), now)


def test_the_holder_counts_from_when_it_asked() -> None:
    proposal = Proposal("abc")
    proposal.grant("a", [])
    assert proposal.results == []
    proposal.grant("b", [], now=100.9)
    (result,) = proposal.results
    assert result.won
    assert result.until == 100.0 + TTL - MARGIN


def test_an_answer_after_the_deadline_counts_for_nothing() -> None:
    proposal = Proposal("abc")
    proposal.grant("a", [])
    proposal.grant("b", [], now=101.5)
    proposal.leases.tick(101.5)
    assert [result.won for result in proposal.results] == [False]


def test_a_grant_that_is_told_after_the_refusals_is_given_back() -> None:
    proposal = Proposal("abc")
    number = next(iter(proposal.asked.values()))
    for voter in "ab":
        refusal = Told(number, ok=False, grant=(0, "z", 1), left=1.0)
        proposal.leases.receive(NodeId(voter), messages.LeaseTold([refusal], []), 100.1)
    assert [result.won for result in proposal.results] == [False]
    proposal.flush()
    proposal.grant("c", [], now=100.2)
    (sent,) = [e for e in proposal.leases.flush() if isinstance(e, Send)]
    assert isinstance(sent.message, messages.LeaseAsk)
    assert (sent.to, [ask.kind for ask in sent.message.items]) == ("c", ["undo"])
    proposal.grant("c", [], now=100.3)
    assert not proposal.leases.flush(), "what answers the undo is no grant"


def test_a_majority_is_needed_in_each_map_that_a_voter_knows() -> None:
    proposal = Proposal("abc")
    assert sorted(proposal.asked) == ["a", "b", "c"]
    both = [plain("abc"), plain("def")]
    proposal.grant("a", [])
    proposal.grant("b", both)
    assert proposal.results == [], "two of the three old ones are not enough any more"
    assert sorted(proposal.flush()) == ["d", "e", "f"], "the new ones are asked too"
    proposal.grant("d", both)
    assert proposal.results == []
    proposal.grant("e", both)
    assert [result.won for result in proposal.results] == [True]
