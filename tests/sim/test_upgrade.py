"""A mesh of an older protocol is upgraded node by node, and none of its nodes is left behind."""

import itertools

import pytest

from gossip.versions import OLDEST, PROTOCOL
from tests.sim import checkers
from tests.sim.upgrade import LEAVES, Upgrade
from tests.sim.world import World


def upgraded(seconds: float) -> tuple[World, Upgrade]:
    """The first seed that begins with the first release; no other fault."""
    for seed in itertools.count(1):
        world = World(seed, seconds=seconds, faults=("rolling upgrade",))
        if world.troubles.upgrade is not None and world.members[0].config.protocol == OLDEST:
            print(f"seed {seed}")
            return world, world.troubles.upgrade
    raise AssertionError


def test_the_mesh_goes_over_to_the_new_protocol_with_its_last_node() -> None:
    world, _ = upgraded(20.0)
    count = len(world.members)
    spoken: dict[int, set[int]] = {}
    """By the number of older nodes, what nodes say that the mesh speaks."""

    def look() -> None:
        olds = sum(node.config.protocol == OLDEST for node in world.members)
        spoken.setdefault(olds, set()).update(node.core.protocol for node in world.members if node.up)
        world.clock.after(0.1, look)

    world.clock.after(2.0, look)
    world.run()
    assert set(spoken) == set(range(count + 1)), "one after another"
    assert set.union(*(spoken[olds] for olds in range(1, count + 1))) == {OLDEST}
    assert {node.core.protocol for node in world.members} == {PROTOCOL}
    assert world.hits["rolling upgrade"] == count
    assert world.hits["message withheld from an older node"]


@pytest.mark.parametrize("wait", [0.5, LEAVES + 0.1])
def test_who_has_left_when_the_faults_end_comes_back_and_stays(wait: float) -> None:
    """Before its process has ended, and before its next life has begun."""
    world, upgrade = upgraded(60.0)
    world._begin()
    first, second = world.members[:2]
    first.leave()
    world.clock.after(LEAVES, lambda: upgrade._stop(first, 1))
    second.speak(PROTOCOL)  # it has been upgraded, and leaves for another reason
    second.leave()
    world.clock.run_for(wait)
    world.troubles.end()
    lives = [node.life for node in world.members]
    world.eventually(30.0, checkers.members_agree)
    world.clock.run_for(60.0)
    checkers.members_agree(world)
    assert [node.life for node in world.members] == lives
    assert {node.core.protocol for node in world.members} == {PROTOCOL}
