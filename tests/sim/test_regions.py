"""Regions in the simulator: the code that ships, three regions of two nodes, 40 to 240 ms round trip between them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from gossip.identity import NodeId
from node.messages import BasePiece, Envelopes, Message
from sharding.region import region_of
from tests.sim.node import SimNode
from tests.sim.patching import around, changed
from tests.sim.regions import REGIONS, WIDE, Planet
from tests.sim.world import World

SEEDS = range(1, 6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_is_kept_and_run_at_home_and_copied_elsewhere(seed: int) -> None:
    planet = Planet(seed)
    tasks = [task for region in planet.regions for task in planet.submit(region)]
    planet.settle()
    for task in tasks:
        holders = [
            node.config.region for node in planet.world.members if node.entry_of(task.slot, task.batch)
        ]
        home = region_of(task.slot)
        assert holders.count(home) == 2
        assert len(holders) == 3
        assert planet.ran[task.id] == {home}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_acknowledgement_waits_for_another_region(seed: int) -> None:
    """Two disks of the home region are enough; where it has but one, the copy does not stand for the second."""
    planet = Planet(seed)
    tasks = planet.submit("eu")
    planet.run(0.1)  # less than a round trip
    assert {task.acked for task in tasks} == {2}
    gone, left = planet.of("eu")
    gone.crash()
    planet.run(60.0)
    tasks = planet.submit("eu", through=left)
    planet.run(0.1)
    assert {task.acked for task in tasks} == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_that_is_cut_off_goes_on_and_merges(seed: int) -> None:
    """Both sides take, control and finish tasks; afterwards all is one, and nothing is lost."""
    planet = Planet(seed)
    planet.submit("eu", records=200)
    planet.run(1.0)
    planet.cut("eu")
    planet.until(60.0, lambda: planet.buried("eu", by="us"))
    planet.until(60.0, lambda: planet.buried("us", by="eu"))
    inside = planet.submit("eu")
    outside = planet.submit("us") + planet.submit("ap")
    for task in inside[:2] + outside[:2]:
        home = planet.of(region_of(task.slot))[0]
        node = planet.world.workload.forwarded(home, task.slot)
        assert node is not None
        planet.world.workload.wish(node, task, "cancel")
    planet.until(60.0, lambda: planet.over(inside, seen_by=planet.of("eu")))
    planet.until(60.0, lambda: planet.over(outside, seen_by=planet.of("us") + planet.of("ap")))
    planet.heal()
    planet.settle()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_that_is_cut_off_leaves_the_others_tasks_alone(seed: int) -> None:
    planet = Planet(seed)
    planet.submit("us", records=600)
    planet.run(1.0)
    planet.cut("eu")
    planet.run(60.0)
    for node in planet.of("eu"):
        assert {region_of(slot) for slot in node.core.table.mine} <= {"eu"}
    planet.heal()
    planet.settle()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_region_is_taken_over_and_its_tasks_go_home(seed: int) -> None:
    planet = Planet(seed)
    tasks = planet.submit("eu", records=300)
    planet.run(4.0)  # the copies have them
    planet.kill("eu")
    rest = planet.of("us") + planet.of("ap")
    planet.until(60.0, lambda: planet.buried("eu", by="us"))
    planet.until(120.0, lambda: planet.over(tasks, seen_by=rest))
    meanwhile = planet.submit("eu", through=rest[0])
    planet.until(60.0, lambda: planet.over(meanwhile, seen_by=rest))
    epochs = {slot: token[0] for node in rest for slot, token in node.core.table.mine.items() if token}
    planet.revive("eu")
    planet.settle()
    after = planet.submit("eu")
    planet.until(30.0, lambda: planet.over(after, seen_by=planet.of("eu")))
    for node in planet.of("eu"):
        for slot, token in node.core.table.mine.items():
            assert token is None or token[0] > epochs.get(slot, 0), "a token that is not newer"
    for task in after:
        assert planet.ran[task.id] == {"eu"}
    planet.settle()


@pytest.mark.parametrize("seed", SEEDS)
def test_only_a_whole_region_is_taken_over(seed: int) -> None:
    planet = Planet(seed)
    planet.submit("eu", records=400)
    planet.run(3.0)
    planet.of("eu")[0].crash()
    planet.run(60.0)
    for node in planet.of("us") + planet.of("ap"):
        assert "eu" not in {region_of(slot) for slot in node.core.table.mine}
    planet.of("eu")[0].start()
    planet.settle()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_copy_crosses_the_wide_area_once(seed: int) -> None:
    """Of two replicas that hold what the copy lacks, one is asked."""
    planet = Planet(seed)
    crossed: Counter[tuple[str, object]] = Counter()

    def wrap(real: Callable[..., None]) -> Callable[..., None]:
        def send(self: SimNode, to: NodeId, message: Message) -> None:
            if to in self.core.replicator.comparing.far:
                if isinstance(message, Envelopes):
                    crossed.update((to, item) for item in message.items)
                elif isinstance(message, BasePiece):
                    crossed[to, (message.slot, message.offset)] += 1
            real(self, to, message)

        return send

    with changed(around(SimNode, "send", wrap)):
        for _ in range(10):
            planet.submit("eu", many=4)
            planet.run(1.0)
        planet.settle()
    print(f"{crossed.total()} envelopes and bases crossed, {len(crossed)} different ones")
    assert len(crossed) > 100
    assert crossed.total() < 1.3 * len(crossed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wide_area_buries_nobody(seed: int) -> None:
    """One pool with the timing of `lan`: 240 ms round trip, one message of a hundred lost, three minutes, no death."""
    planet = Planet(seed)
    network = planet.world.network
    for one in planet.world.members:
        for other in planet.world.members:
            if one.config.region != other.config.region:
                network.shape(replace(WIDE, loss=0.01), sources=[one.name], destinations=[other.name])
    planet.run(180.0)
    for node in planet.world.members:
        assert not any(
            node.core.ownership.damping.deaths(other.name, node.now) for other in planet.world.members
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wish_about_a_region_out_of_reach_waits_at_the_copy(seed: int) -> None:
    planet = Planet(seed)
    tasks = planet.submit("eu", records=9000)
    planet.run(4.0)
    planet.cut("eu")
    planet.until(60.0, lambda: planet.buried("eu", by="us"))
    us = planet.of("us")[0]
    wished = []
    for task in tasks:
        node = planet.world.workload.forwarded(us, task.slot)
        if node is not None and planet.world.workload.entry(node, task) is not None:
            assert node.config.region != "eu"
            planet.world.workload.wish(node, task, "cancel")
            wished.append(task)
    assert wished
    planet.heal()
    planet.settle()
    home = planet.of("eu")[0]
    assert {planet.state(home, task) for task in wished} == {"cancelled"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tasks_of_a_region_that_is_no_more_are_kept_and_run_by_all(seed: int) -> None:
    """It was renamed, say, or all its nodes have left."""
    planet = Planet(seed)
    tasks = planet.submit("mars", through=planet.of("us")[0])
    planet.until(60.0, lambda: planet.over(tasks, seen_by=planet.world.members))
    for task in tasks:
        assert sum(node.core.replicates(task.slot) for node in planet.world.members) == 3
        assert sum(node.entry_of(task.slot, task.batch) is not None for node in planet.world.members) >= 3


@pytest.mark.parametrize("seed", range(1, 7))
def test_invariants_hold_under_faults_in_three_regions(seed: int) -> None:
    """All that one region must bear: cuts of any shape, crashes, lost disks, wrong clocks."""
    world = World(seed, nodes=6, regions=REGIONS, slots=8, counted=False)
    print(f"seed {seed}; faults: {', '.join(world.enabled)}")
    world.run()
