"""A rolling upgrade: the mesh begins with nodes of an older protocol, which are replaced one after another."""

import random
from typing import TYPE_CHECKING

from gossip.versions import OLDEST, PROTOCOL
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World

OLDER = range(OLDEST, PROTOCOL)
"""Protocols that a mesh may begin with."""
LEAVES = 1.5
"""Seconds from an orderly leave to the end of the process."""


class Upgrade:
    """Each node goes in order or not, and is started with the newest protocol on the same disk. The last one is due
    when nine tenths of the seconds of faults are over; a node that is down just then is started so later."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self._over = False
        older = rng.choice(OLDER)
        for node in world.members:
            node.speak(older)
        order = rng.sample(world.members, len(world.members))
        for number, node in enumerate(order):
            share = (number + rng.random()) / len(order)
            world.clock.after(3.0 + 0.9 * world.seconds * share, lambda node=node: self._change(node))  # type: ignore[misc]

    def finish(self) -> None:
        """The faults are over: who still runs the old version is stopped, and `Faults.end` starts the newest."""
        self._over = True
        for node in self.world.members:
            if node.config.protocol < PROTOCOL:
                if node.up:
                    node.crash()
                self._renew(node)

    def _change(self, node: SimNode) -> None:
        if self._over or node not in self.world.members:
            return
        if node.able and self.rng.random() < 0.5:
            node.leave()
            self.world.hits["left to be upgraded"] += 1
            life = node.life
            self.world.clock.after(LEAVES, lambda: self._stop(node, life))
        else:
            self._stop(node, node.life)

    def _stop(self, node: SimNode, life: int) -> None:
        """Unless it was stopped by something else meanwhile."""
        if self._over:
            return
        if node.up and node.life == life:
            node.crash()
        self.world.clock.after(self.rng.uniform(0.2, 3.0), lambda: self._start(node))

    def _start(self, node: SimNode) -> None:
        if self._over or node not in self.world.members:
            return
        if node.up:  # somebody started the old version again
            node.crash()
        self._renew(node)
        node.start()

    def _renew(self, node: SimNode) -> None:
        """The next start is of the newest version."""
        node.speak(PROTOCOL)
        self.world.hits["rolling upgrade"] += 1
