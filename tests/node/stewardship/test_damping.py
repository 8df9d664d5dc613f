"""A node that dies and comes back again and again: how often its slots move with it."""

import pytest

from gossip.identity import NodeId
from gossip.member import Member, State
from node.stewardship.damping import FLAPPING, WINDOW, Damping
from node.stewardship.ownership import OwnershipConfig
from sharding.key import parse
from tests.node.stewardship.desk import Desk, member, settle, spec

A = NodeId("a")


def told(damping: Damping, *states: Member, now: float = 0.0) -> Damping:
    for state in states:
        damping.observe({state.id: state}, now)
    return damping


def died(times: int, *, now: float = 0.0) -> Damping:
    damping = told(Damping(), member("a"))
    for _ in range(times):
        told(damping, member("a", state=State.DEAD), member("a"), now=now)
    return damping


@pytest.mark.parametrize(
    ("deaths", "seconds"), [(0, 10), (1, 10), (2, 40), (3, FLAPPING), (4, WINDOW), (99, WINDOW)]
)
def test_each_death_makes_it_wait_longer(deaths: int, seconds: float) -> None:
    assert died(deaths).stable_after(A, 10.0, 1.0) == seconds


def test_a_short_wait_grows_to_the_same_bound() -> None:
    assert [died(n).stable_after(A, 2.0, 1.0) for n in (1, 2, 3)] == [2.0, 8.0, FLAPPING]


def test_deaths_are_forgiven_after_the_window() -> None:
    damping = died(3, now=50.0)
    assert damping.stable_after(A, 10.0, 50.0 + WINDOW - 1) == FLAPPING
    assert damping.stable_after(A, 10.0, 50.0 + WINDOW) == 10.0


@pytest.mark.parametrize(
    ("states", "deaths"),
    [
        ([member("a"), member("a", boot=2)], 1),
        ([member("a"), member("a", state=State.DEAD), member("a", boot=2)], 1),
        ([member("a"), member("a", state=State.SUSPECT), member("a")], 0),
        ([member("a"), member("a", state=State.LEFT), member("a", boot=2)], 0),
        ([member("a", state=State.DEAD), member("a")], 0),
    ],
)
def test_what_counts_as_a_death(states: list[Member], deaths: int) -> None:
    assert told(Damping(), *states).deaths(A, 1.0) == deaths


class Flapping:
    """Three desks, one of which is cut off and back, `off` and `on` seconds long, dead to the others after one."""

    def __init__(self, config: OwnershipConfig, *, on: float, off: float) -> None:
        self.desks = [Desk(name, ownership=config) for name in "abc"]
        self.on, self.off = on, off
        self.since = dict.fromkeys("abc", 0.0)
        self.dead: set[str] = set()
        self._tell()
        settle(*self.desks)
        ids = [self.desks[n % 3].submit(spec("many"))[0] for n in range(40)]
        self.slots = {at.slot for task in ids if (at := parse(task)) is not None}
        settle(*self.desks)
        self.run(12.0, cut=False)
        self.seen = [self.stewards()]
        self.moves: list[tuple[float, int]] = []

    def _tell(self) -> None:
        """Each side sees the other as dead."""
        for desk in self.desks:
            other = {n for n in "abc" if n != desk.name} if desk.name in self.dead else self.dead
            desk.join(*(
                member(n, state=State.DEAD if n in other else State.ALIVE, since=self.since[n]) for n in "abc"
            ))  # fmt: skip

    def stewards(self) -> dict[int, str]:
        """As the two that stay see it; a slot between two stewards is left out."""
        found = {slot: self.desks[0].core.steward_of(slot) for slot in self.slots}
        return {slot: node for slot, node in found.items() if node is not None}

    def turn(self, dead: set[str]) -> None:
        self.dead = dead
        self.since["c"] = self.desks[0].now
        self._tell()

    def run(self, seconds: float, *, cut: bool) -> None:
        for _ in range(round(seconds / 0.5)):
            for desk in self.desks:
                desk.step(0.5, pace=0.5)
            if cut:
                settle(*self.desks[:2])
                settle(self.desks[2])
            else:
                settle(*self.desks)
            if self.slots and hasattr(self, "moves"):
                self._note()

    def _note(self) -> None:
        now, before = self.stewards(), self.seen[-1]
        self.moves += [(self.desks[0].now, slot) for slot in now if now[slot] != before.get(slot, now[slot])]
        self.seen.append({**before, **now})

    def play(self, seconds: float) -> int:
        """The most moves of one slot within five minutes."""
        end = self.desks[0].now + seconds
        while self.desks[0].now < end:
            self.run(1.0, cut=True)
            self.turn({"c"})
            self.run(self.off - 1.0, cut=True)
            self.turn(set())
            self.run(self.on, cut=False)
        return max((self._most(slot) for slot in self.slots), default=0)

    def _most(self, slot: int) -> int:
        times = [at for at, moved in self.moves if moved == slot]
        return max((sum(at <= other < at + 300 for other in times) for at in times), default=0)


def test_five_seconds_on_five_off_for_ten_minutes_moves_a_slot_once() -> None:
    world = Flapping(OwnershipConfig(), on=5.0, off=5.0)
    assert "c" in world.stewards().values()
    most = world.play(600)
    print(
        f"{len(world.moves)} moves of {len(world.slots)} slots in 600 s, at most {most} of one slot in 300 s"
    )
    assert most == 1


@pytest.mark.parametrize("on", [12.0, 30.0, 60.0, 120.0])
def test_a_slower_flap_is_damped_after_a_few_deaths(on: float) -> None:
    """Whatever the period: after the third death within the window nothing moves until it is stable."""
    world = Flapping(OwnershipConfig(), on=on, off=5.0)
    world.play(1200)
    last = world.desks[0].now - 300
    most = max(sum(moved == slot for _, moved in world.moves) for slot in world.slots)
    print(f"on {on:g} s: at most {most} moves of one slot in 1200 s")
    assert most <= 5
    assert not [at for at, _ in world.moves if at > last]
