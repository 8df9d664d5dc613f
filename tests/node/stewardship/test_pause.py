"""`on_partition = "pause"` on several cores: at no time do two nodes run one shard, and the lesser side of a cut stops
by itself."""

import random

import pytest

from gossip.member import Member, State
from node.execution.jobs import JobKey
from node.leases.core import LeaseConfig
from node.stewardship.ownership import OwnershipConfig
from node.views import TaskReader
from sharding.key import parse
from tests.node.stewardship.desk import WALL, Desk, member, settle, spec

TTL = 5.0
PACE = 0.1
LEASES = LeaseConfig(ttl=TTL, stable_after=0.5)
NAMES = ("a", "b", "c")


class Mesh:
    """Three desks; their runners obey every stop at once. `cut`: the desk that hears nobody."""

    def __init__(self) -> None:
        ownership = OwnershipConfig(takeover_delay=0.5, stable_after=2.0)
        self.desks = [Desk(name, leases=LEASES, ownership=ownership) for name in NAMES]
        self.desks[0].core.leases.founded = True
        self.cut: str | None = None
        self.see(frozenset())
        self.run(5.0)

    def see(self, dead: frozenset[frozenset[str]]) -> None:
        """`dead`: pairs that bury each other."""
        for desk in self.desks:
            desk.join(*(self.seen(desk, name, frozenset({desk.name, name}) in dead) for name in NAMES))

    @staticmethod
    def seen(desk: Desk, name: str, dead: bool) -> Member:
        return member(name, state=State.DEAD if dead else State.ALIVE, since=desk.now)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / PACE)):
            for desk in self.desks:
                desk.step(PACE, pace=PACE)
                self.obey(desk)
            settle(*(desk for desk in self.desks if desk.name != self.cut))
            for desk in self.desks:
                if desk.name == self.cut:
                    desk.outbox = []
                self.obey(desk)
            self.check()

    @staticmethod
    def obey(desk: Desk) -> None:
        stops, desk.stops = desk.stops, []
        for key, _ in stops:
            if key in desk.jobs:
                desk.end(desk.jobs[key], "stopped", position=0)

    def running(self) -> dict[JobKey, list[str]]:
        found: dict[JobKey, list[str]] = {}
        for desk in self.desks:
            for key in desk.jobs:
                found.setdefault(key, []).append(desk.name)
        return found

    def check(self) -> None:
        twice = {key: names for key, names in self.running().items() if len(names) > 1}
        assert not twice, f"two nodes run one job: {twice}"

    def plan(self, *shards: str) -> None:
        for desk in self.desks:
            for job in desk.waiting("plan"):
                desk.plan(job, *shards)

    def reason(self, desk: Desk, task: str) -> str:
        at = parse(task)
        assert at is not None
        return TaskReader(desk.core, at, WALL).state()[1] or ""


@pytest.mark.parametrize("victim", NAMES)
def test_the_lesser_side_stops_within_the_ttl_and_the_greater_goes_on(victim: str) -> None:
    mesh = Mesh()
    (task,) = mesh.desks[0].submit(spec("many", on_partition="pause"))
    mesh.run(2.0)
    mesh.plan("p", "q", "r", "s")
    mesh.run(3.0)
    assert len(mesh.running()) == 4
    held = {name for names in mesh.running().values() for name in names}
    lone = next(desk for desk in mesh.desks if desk.name == victim)
    mesh.cut = victim
    mesh.run(1.0)
    mesh.see(frozenset(frozenset({victim, name}) for name in NAMES if name != victim))
    mesh.run(TTL - 1.0)
    assert not lone.jobs, f"{victim} still runs {list(lone.jobs)}, {TTL} s after the cut"
    mesh.run(2 * TTL + 2.0)
    assert not lone.jobs
    assert "no majority" in mesh.reason(lone, task)
    assert len(mesh.running()) == 4, f"the greater side does not go on ({held} ran it before)"
    mesh.cut = None
    mesh.see(frozenset())
    mesh.run(2 * TTL)
    assert len(mesh.running()) == 4
    for desk in mesh.desks:
        assert "paused" not in mesh.reason(desk, task)


@pytest.mark.parametrize("victim", NAMES)
def test_what_one_runs_that_was_lost_for_a_moment_is_leased_when_its_time_is_over(victim: str) -> None:
    """It is back before what it was granted ends, and stops by itself only then."""
    mesh = Mesh()
    mesh.desks[0].submit(spec("many", on_partition="pause"))
    mesh.run(2.0)
    mesh.plan("p", "q", "r", "s")
    mesh.run(3.0)
    assert len(mesh.running()) == 4
    mesh.cut = victim
    mesh.see(frozenset(frozenset({victim, name}) for name in NAMES if name != victim))
    mesh.run(0.2)
    mesh.cut = None
    mesh.see(frozenset())
    mesh.run(3 * TTL)
    assert len(mesh.running()) == 4


def test_nobody_runs_anything_while_all_are_cut_from_each_other() -> None:
    mesh = Mesh()
    (task,) = mesh.desks[0].submit(spec("many", on_partition="pause"))
    mesh.run(2.0)
    mesh.plan("p", "q")
    mesh.run(2.0)
    for desk in mesh.desks:
        for _ in range(100):
            desk.step(PACE, pace=PACE)
            mesh.obey(desk)
            desk.outbox = []
    assert not mesh.running()
    mesh.run(TTL + 2.0)
    assert len(mesh.running()) == 2
    assert task


def test_cuts_at_random_times() -> None:
    rng = random.Random(7)
    mesh = Mesh()
    mesh.desks[0].submit(*(spec("many", on_partition="pause") for _ in range(4)))
    mesh.run(1.0)
    for _ in range(12):
        mesh.plan("p", "q")
        mesh.cut = rng.choice((*NAMES, None))
        mesh.run(rng.uniform(0.2, 3))
        cut = mesh.cut
        pairs = frozenset(frozenset({cut, name}) for name in NAMES if name != cut) if cut else frozenset()
        mesh.see(pairs if rng.random() < 0.7 else frozenset())
        mesh.run(rng.uniform(0.5, 9))
    mesh.cut = None
    mesh.see(frozenset())
    mesh.run(3 * TTL)
    mesh.plan("p", "q")
    mesh.run(1.0)
    assert mesh.running()
