"""`on_partition = "pause"` over regions: the replicas of its home region vote, so a task runs there or nowhere.

Three regions of three nodes. In every script, whenever a job of such a task starts, nobody else has that very job, and
no node on the other side of the cut has one of another steward (`Apart`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from node.execution.jobs import Job
from node.views import TaskReader
from sharding.key import TaskId
from sharding.region import region_of
from tests.sim import faults
from tests.sim.model import ModelRunner
from tests.sim.node import SimNode
from tests.sim.patching import around, changed
from tests.sim.regions import REGIONS, Planet
from tests.sim.workload import Submitted
from tests.sim.world import World

SEEDS = range(1, 4)
PAUSE = {"on_partition": "pause"}
TTL = 5.0


class Apart:
    """`sides`: who is on which side of the cut now; empty: there is none."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sides: dict[str, int] = {}
        self.starts: dict[str, list[tuple[float, SimNode]]] = {}
        """Of each task that pauses: when a job of it started, and where."""
        self.woken: dict[str, float] = {}
        """When nodes that had stood still went on."""

    def starting(self, runner: ModelRunner, job: Job) -> None:
        world = self.world
        here = next(node for node in world.members if node.up and node.runner is runner)
        if not job.pause:
            return
        self.starts.setdefault(job.key.task, []).append((world.clock.now, here))
        for node in world.members:
            if (
                node is here
                or not node.up
                or node.frozen
                or world.clock.now - self.woken.get(node.name, -1.0) < 1.0
            ):
                continue  # a node that stood still goes on for a moment: a lease is no fence
            assert job.key not in node.runner.jobs, f"{job.key} runs on {node.name} and {here.name}"
            if self.sides.get(node.name) != self.sides.get(here.name):
                jobs = node.runner.jobs.values()
                both = [one.key for one in jobs if one.key.task == job.key.task and one.token != job.token]
                assert not both, (
                    f"{job.key} starts on {here.name}, and {both} run across the cut on {node.name}"
                )

    def cut(self, inside: Iterable[SimNode]) -> None:
        names = {node.name for node in inside}
        self.sides = {node.name: int(node.name in names) for node in self.world.members}
        self.world.network.split(sorted(names), sorted(self.sides.keys() - names))

    def heal(self) -> None:
        self.sides = {}
        self.world.network.heal()

    def ran_in(self, tasks: list[Submitted], since: float = 0.0) -> set[str]:
        """The regions in which jobs of these started."""
        return {
            node.config.region for task in tasks for at, node in self.starts.get(task.id, ()) if at >= since
        }


@contextmanager
def apart(world: World) -> Iterator[Apart]:
    found = Apart(world)

    def wrap(real: Callable[[ModelRunner, Job], None]) -> Callable[[ModelRunner, Job], None]:
        def run(self: ModelRunner, job: Job) -> None:
            found.starting(self, job)
            real(self, job)

        return run

    def waking(real: Callable[[SimNode], None]) -> Callable[[SimNode], None]:
        def thaw(self: SimNode) -> None:
            found.woken[self.name] = world.clock.now
            real(self)

        return thaw

    with changed(around(ModelRunner, "run", wrap), around(SimNode, "thaw", waking)):
        yield found


def over(planet: Planet, tasks: list[Submitted], nodes: list[SimNode]) -> Callable[[], None]:
    return lambda: planet.over(tasks, seen_by=nodes)


def why(node: SimNode, task: Submitted) -> str | None:
    """What people are told who ask the steward."""
    if task.slot not in node.core.table.mine:
        return None
    return TaskReader(node.core, TaskId(task.slot, task.batch, task.index), node.wall).state()[1]


def stewarded(planet: Planet, region: str, *, by: list[SimNode]) -> Callable[[], None]:
    """Somebody of these has taken slots of the region over."""

    def check() -> None:
        assert any(region_of(slot) == region for node in by for slot in node.core.table.mine)

    return check


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_cut_between_regions_a_task_goes_on_at_home_alone(seed: int) -> None:
    """Longer than the takeover: the others hold the slots of the lone region by then, and not the leases."""
    planet = Planet(seed, each=3)
    rest = planet.of("us") + planet.of("ap")
    with apart(planet.world) as watch:
        before = planet.submit("eu", records=400, more=PAUSE)
        theirs = planet.submit("us", records=400, more=PAUSE)
        planet.run(6.0)
        watch.cut(planet.of("eu"))
        planet.until(60.0, lambda: planet.buried("eu", by="us"))
        inside, outside = planet.submit("eu", more=PAUSE), planet.submit("us", more=PAUSE)
        planet.until(60.0, stewarded(planet, "eu", by=rest))
        planet.run(15.0)
        planet.until(60.0, over(planet, inside, planet.of("eu")))
        planet.until(60.0, over(planet, theirs + outside, rest))
        assert not any(planet.state(node, task) == "succeeded" for task in inside for node in rest)
        watch.heal()
        planet.settle()
    assert watch.ran_in(before + inside) == {"eu"}
    assert watch.ran_in(theirs + outside) == {"us"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_regions_task_waits_for_it_and_ends_at_home(seed: int) -> None:
    planet = Planet(seed, each=3)
    rest = planet.of("us") + planet.of("ap")
    with apart(planet.world) as watch:
        held, free = planet.submit("eu", records=300, more=PAUSE), planet.submit("eu", records=300)
        planet.run(5.0)
        planet.kill("eu")
        gone = planet.world.clock.now
        planet.until(120.0, over(planet, free, rest))
        planet.run(20.0)
        assert watch.ran_in(held, since=gone) == set()
        for task in held:
            reasons = {reason for node in rest if (reason := why(node, task))}
            assert any("waits for region eu" in reason for reason in reasons), reasons
        planet.revive("eu")
        planet.settle()
    assert watch.ran_in(held, since=gone) == {"eu"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tasks_of_a_region_that_is_forgotten_go_on_elsewhere(seed: int) -> None:
    planet = Planet(seed, each=3)
    rest = planet.of("us") + planet.of("ap")
    with apart(planet.world) as watch:
        tasks = planet.submit("eu", records=200, more=PAUSE)
        planet.run(5.0)
        planet.kill("eu")
        planet.until(60.0, stewarded(planet, "eu", by=rest))
        planet.run(15.0)
        first, *others = [node.name for node in planet.of("eu")]
        rest[0].core.leases.forget(frozenset(others))
        planet.run(20.0)
        assert watch.ran_in(tasks) == {"eu"}, "one who votes may still be there"
        rest[0].core.leases.forget(frozenset([first]))
        planet.until(90.0, over(planet, tasks, rest))
    assert watch.ran_in(tasks) > {"eu"}


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_region_that_is_cut_in_two_the_greater_part_goes_on(seed: int) -> None:
    """The lesser part has all other regions on its side; they have no vote."""
    planet = Planet(seed, each=3)
    lone, *pair = planet.of("eu")
    with apart(planet.world) as watch:
        tasks = planet.submit("eu", records=400, more=PAUSE)
        planet.run(6.0)
        watch.cut(pair)
        cut = planet.world.clock.now
        planet.until(120.0, over(planet, tasks, pair))
        late = {node for task in tasks for at, node in watch.starts[task.id] if at > cut + TTL}
        assert late <= set(pair)
        watch.heal()
        planet.settle()
    assert watch.ran_in(tasks) == {"eu"}
    assert lone.config.region == "eu"


@pytest.mark.parametrize("seed", SEEDS)
def test_an_executor_in_another_region_stops_in_a_cut_and_goes_on_after_it(seed: int) -> None:
    planet = Planet(seed, each=3)
    far = planet.of("us")[0]
    with apart(planet.world) as watch:
        placed = {**PAUSE, "placement": {"nodes": [far.name]}}
        tasks = planet.submit("eu", many=2, records=600, more=placed)
        planet.run(6.0)
        assert watch.ran_in(tasks) == {"us"}
        watch.cut(planet.of("eu"))
        planet.run(TTL)
        assert not [key for key in far.runner.jobs if key.task in watch.starts], "it runs beyond the lease"
        cut = planet.world.clock.now
        planet.run(40.0)
        assert watch.ran_in(tasks, since=cut) == set()
        watch.heal()
        planet.settle()
    assert watch.ran_in(tasks, since=cut) == {"us"}


@pytest.mark.parametrize("seed", range(1, 4))
def test_no_job_runs_twice_under_faults(seed: int) -> None:
    """All faults but a disk that forgets promises, of which `node.leases` says that it must not be."""
    names = tuple(name for name in faults.NAMES if name != "older copy")
    world = World(seed, nodes=9, regions=REGIONS, slots=8, pausing=0.5, faults=names, counted=False)
    print(f"seed {seed}; faults: {', '.join(world.enabled)}")
    with apart(world) as watch:
        world.run()
    assert watch.starts
