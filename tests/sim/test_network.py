"""The simulator itself: a network that does not do what its test says proves nothing."""

import random
from collections import Counter

import pytest

from tests.sim.clock import Clock
from tests.sim.network import Deliver, Link, Network


class Bench:
    def __init__(self, link: Link, *, seed: int = 1, names: str = "abcd", logged: bool = False) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, random.Random(seed), link, logged=logged)
        self.arrived: list[tuple[float, str, str, bytes]] = []
        for name in names:
            self.network.register(name, self.into(name))

    def into(self, name: str) -> Deliver:
        return lambda source, payload: self.arrived.append((self.clock.now, source, name, payload))

    def all_pairs(self) -> set[tuple[str, str]]:
        """Which pairs a message passes between now."""
        self.arrived.clear()
        names = self.network.names
        for source in names:
            for destination in names:
                if source != destination:
                    self.network.send(source, destination, b"x")
        self.clock.run_for(1.0)
        return {(source, destination) for _, source, destination, _ in self.arrived}


EVERY = {(one, other) for one in "abcd" for other in "abcd" if one != other}


def test_what_is_due_together_runs_in_the_order_it_was_scheduled() -> None:
    clock, ran = Clock(), list[str]()
    clock.schedule(2.0, lambda: ran.append("late"))

    def too_late() -> None:
        clock.schedule(0.0, lambda: ran.append(f"past {clock.now}"))

    clock.schedule(1.0, too_late)
    clock.schedule(1.0, lambda: ran.append("first"))
    clock.schedule(1.0, lambda: ran.append("never")).cancel()
    clock.run_until(1.5)
    assert ran == ["first", "past 1.0"]
    assert clock.now == 1.5
    clock.run_until(2.0)
    assert ran[-1] == "late"


def test_run_while_says_how_long_it_took() -> None:
    clock = Clock()
    assert clock.run_while(lambda: clock.now < 3.0, limit=10.0) == pytest.approx(3.0, abs=0.011)
    assert clock.run_while(lambda: True, limit=2.0) == pytest.approx(2.0, abs=0.011)


def test_delays_stay_within_their_bounds_and_reorder_only_unless_fifo() -> None:
    for fifo in (False, True):
        bench = Bench(Link(delay=(0.1, 0.2), fifo=fifo))
        for number in range(200):
            bench.network.send("a", "b", bytes([number]))
        bench.clock.run_for(1.0)
        order = [payload[0] for *_, payload in bench.arrived]
        assert len(order) == 200
        assert (order == sorted(order)) is fifo
        assert all(0.1 <= at <= 0.2 for at, *_ in bench.arrived)


def test_loss_and_duplication_are_as_frequent_as_said() -> None:
    bench = Bench(Link(loss=0.25, duplication=0.1))
    for _ in range(10_000):
        bench.network.send("a", "b", b"")
    bench.clock.run_for(1.0)
    assert bench.network.kinds["lost"] == pytest.approx(2500, abs=200)
    assert bench.network.kinds["duplicated"] == pytest.approx(750, abs=120)
    assert len(bench.arrived) == 10_000 - bench.network.kinds["lost"] + bench.network.kinds["duplicated"]


def test_one_link_can_have_its_own_character() -> None:
    bench = Bench(Link())
    bench.network.shape(Link(loss=1.0), sources=["a"], destinations=["b"])
    assert bench.all_pairs() == EVERY - {("a", "b")}
    bench.network.lose(0.0)
    assert bench.all_pairs() == EVERY


def test_cuts_partitions_and_healing() -> None:
    bench = Bench(Link())
    bench.network.cut("a", "b")
    assert bench.all_pairs() == EVERY - {("a", "b")}
    bench.network.heal()
    bench.network.split("ab", "cd")
    assert bench.all_pairs() == {("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")}
    bench.network.heal()
    bench.network.isolate("a", "abcd")
    assert bench.all_pairs() == {pair for pair in EVERY if "a" not in pair}
    bench.network.heal()
    bench.network.bridge(["a"], "b", ["c", "d"])
    assert bench.all_pairs() == EVERY - {("a", "c"), ("a", "d"), ("c", "a"), ("d", "a")}
    bench.network.heal()
    assert bench.all_pairs() == EVERY


def test_what_is_under_way_when_the_link_is_cut_is_lost() -> None:
    bench = Bench(Link(delay=(0.1, 0.1)))
    bench.network.send("a", "b", b"x")
    bench.clock.run_for(0.05)
    bench.network.cut("a", "b")
    bench.clock.run_for(1.0)
    assert bench.arrived == []


def test_flapping_alternates_and_leaves_other_cuts_alone() -> None:
    bench = Bench(Link(delay=(0.0, 0.0)))
    bench.network.cut("a", "b")
    bench.network.flap(["ab", "cd"], period=10.0, until=25.0)
    whole = Counter[bool]()
    for _ in range(40):
        bench.clock.run_for(1.0)
        whole[bench.network.passes("a", "c")] += 1
    assert whole[False] == pytest.approx(15, abs=1)
    assert not bench.network.passes("a", "b")
    bench.network.heal()
    assert bench.all_pairs() == EVERY


def test_a_message_to_nobody_is_counted() -> None:
    bench = Bench(Link())
    bench.network.unregister("b")
    bench.network.send("a", "b", b"x")
    bench.clock.run_for(1.0)
    assert bench.network.kinds["nobody"] == 1


def test_the_same_seed_gives_the_same_log() -> None:
    def digest(seed: int) -> str:
        bench = Bench(Link(loss=0.1, duplication=0.1, reorder=0.2), seed=seed, logged=True)
        bench.all_pairs()
        return bench.network.digest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)
