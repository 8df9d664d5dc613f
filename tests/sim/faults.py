"""What goes wrong: faults by name, each of which strikes for a while and then is over."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.disk import Name
from tests.sim.network import Link
from tests.sim.node import SimNode
from tests.sim.upgrade import Upgrade

if TYPE_CHECKING:
    from tests.sim.world import World

CALM = Link(delay=(0.0005, 0.003), fifo=True)


class Faults:
    """`enabled`: the faults of this seed; each is off in half of the seeds."""

    def __init__(self, world: "World", names: tuple[str, ...]) -> None:
        self.world = world
        self.rng = world.rng
        self.enabled = [name for name in names if self.rng.random() < 0.5]
        self.withdrawn: Counter[Name] = Counter()
        """Durable copies that went with their disk, perhaps while the news of them was under way"""
        self.until = 0.0
        """When the faults under way have run out"""
        self._over = False
        if "clock" in self.enabled:
            self._set_clocks()
        self.upgrade = Upgrade(world, self.rng) if "rolling upgrade" in self.enabled else None

    def _set_clocks(self) -> None:
        """Each node's clock is wrong in its own way: seconds of any length, another time of day."""
        self.world.hits["clock"] += 1
        for node in self.world.members:
            node.rate = self.rng.uniform(0.96, 1.04)
            node.offset = self.rng.uniform(0.0, 1e5)
            node.skew = self.rng.randint(-60_000, 60_000)

    def strike(self) -> None:
        able = [name for name in self.enabled if name in ACTIONS]
        if not able:
            return
        fault = self.rng.choice(able)
        lasts = self.rng.uniform(0.3, 8.0)
        if ACTIONS[fault](self, lasts) is not False:
            self.world.hits[fault] += 1
            self.until = max(self.until, self.world.clock.now + lasts)

    def end(self) -> None:
        """All that lasts is over."""
        self._over = True
        self.world.network.heal()
        self._calm()
        if self.upgrade is not None:
            self.upgrade.finish()
        for node in self.world.members:
            if node.up and node.left:
                node.crash()
            node.disk.full, node.disk.delay = False, (0.001, 0.02)
            if node.up and node.frozen:
                node.thaw()
            if not node.up:
                node.start()

    # ---- network

    @property
    def _names(self) -> list[str]:
        return [node.name for node in self.world.members]

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self.world.clock.after(seconds, callback)

    def _sides(self) -> tuple[list[str], list[str]]:
        left = self.rng.sample(self._names, len(self._names) // 2)
        return left, [name for name in self._names if name not in left]

    def halves(self, lasts: float) -> None:
        self.world.network.split(*self._sides())
        self._after(lasts, self.world.network.heal)

    def isolate(self, lasts: float) -> None:
        self.world.network.isolate(self.rng.choice(self._names), self._names)
        self._after(lasts, self.world.network.heal)

    def bridge(self, lasts: float) -> None:
        left, right = self._sides()
        self.world.network.bridge(left, right[0], right[1:])
        self._after(lasts, self.world.network.heal)

    def flapping(self, lasts: float) -> None:
        until = self.world.clock.now + lasts
        self.world.network.flap(self._sides(), period=self.rng.uniform(0.2, 4.0), until=until)
        self._after(lasts + 2.5, self.world.network.heal)

    def one_way(self, lasts: float) -> None:
        self.world.network.cut(*self.rng.sample(self._names, 2))
        self._after(lasts, self.world.network.heal)

    def loss(self, lasts: float) -> None:
        self.world.network.lose(self.rng.uniform(0.05, 0.3))
        self._after(lasts, lambda: self.world.network.lose(0.0))

    def duplicate(self, lasts: float) -> None:
        self._shape(Link(delay=(0.0005, 0.003), duplication=0.3, fifo=True), lasts)

    def reorder(self, lasts: float) -> None:
        self._shape(Link(delay=(0.0005, 0.05), reorder=0.3, hold=self.rng.uniform(0.05, 0.5)), lasts)

    def slow_network(self, lasts: float) -> None:
        self._shape(Link(delay=(0.02, self.rng.uniform(0.05, 0.4)), fifo=True), lasts)

    def _shape(self, link: Link, lasts: float) -> None:
        self.world.network.shape(link)
        self._after(lasts, self._calm)

    def _calm(self) -> None:
        self.world.network.shape(CALM)

    # ---- processes

    def crash(self, lasts: float) -> None:
        many = self.rng.choice((1, 1, 1, 2, len(self.world.members)))
        if many > 2:
            self.world.hits["crash of all"] += 1
        for node in self.rng.sample(self.world.members, many):
            if node.up:
                self._down(node, lasts * self.rng.uniform(0.1, 1.0))

    def _down(self, node: SimNode, lasts: float) -> None:
        node.crash()
        self._after(lasts, functools.partial(self._revive, node))

    def _revive(self, node: SimNode) -> None:
        """Unless the faults are over: who is down then is lost for good."""
        if not node.up and not self._over:
            node.start()

    def freeze(self, lasts: float) -> bool:
        node = self.rng.choice(self.world.members)
        if not node.up or node.frozen:
            return False
        node.freeze()
        life = node.life
        self._after(lasts, lambda: node.thaw() if node.life == life and node.frozen else None)
        return True

    def leave(self, lasts: float) -> bool:
        if not all(node.able for node in self.world.members):
            return False
        node = self.rng.choice(self.world.members)
        node.leave()
        life = node.life
        self._after(1.5, lambda: node.crash() if node.up and node.life == life else None)
        self._after(1.6 + lasts, lambda: self._revive(node))
        return True

    def weight(self, lasts: float) -> None:
        node = self.rng.choice(self.world.members)
        node.weigh(self.rng.choice((0.25, 0.5, 1.0, 2.0)))

    def clock_step(self, lasts: float) -> None:
        """An operator or NTP sets the time of day of a node."""
        node = self.rng.choice(self.world.members)
        node.skew += self.rng.randint(-20_000, 60_000)

    # ---- disks

    def disk_full(self, lasts: float) -> None:
        node = self.rng.choice(self.world.members)
        node.disk.full = True
        self._after(lasts, lambda: setattr(node.disk, "full", False))

    def slow_disk(self, lasts: float) -> None:
        node = self.rng.choice(self.world.members)
        node.disk.delay = (0.05, self.rng.uniform(0.1, 1.5))
        self._after(lasts, lambda: setattr(node.disk, "delay", (0.001, 0.02)))

    def older_copy(self, lasts: float) -> bool:
        """A backup is made now and comes back later; in between the node lives on, crashes and restarts as ever."""
        node = self.rng.choice(self.world.members)
        if node.backup is not None or not node.up:
            return False
        node.backup = node.disk.snapshot()
        self._after(self.rng.uniform(2.0, 20.0), lambda: self._restore(node, lasts))
        return True

    def _restore(self, node: SimNode, lasts: float) -> None:
        copy, node.backup = node.backup, None
        if copy is not None and node.up and not self._over:
            node.crash()
            self.lost(node.disk.restore(copy))
            self.world.hits["older copy restored"] += 1
            self._after(3.0 + lasts * 0.3, functools.partial(self._revive, node))  # a copy takes its time

    def empty(self, lasts: float) -> bool:
        """A new disk: only the key is left."""
        node = self.rng.choice(self.world.members)
        if not node.up:
            return False
        node.crash()
        node.backup = None
        self.lost(node.disk.wipe())
        self._after(3.0 + lasts * 0.3, functools.partial(self._revive, node))
        return True

    def lost(self, names: list[Name]) -> None:
        """What no disk holds any more nobody can ask for."""
        self.withdrawn.update(names)
        gone = {name for name in names if not self.world.holders(name)}
        for task in self.world.workload.tasks:
            if gone.intersection(task.names) and not any(map(self.world.holders, task.names)):
                task.excused = True
                self.world.hits["lost with its only disk"] += 1
            task.deleted = [name for name in task.deleted if name not in gone]


ACTIONS: dict[str, Callable[[Faults, float], bool | None]] = {
    "crash": Faults.crash,
    "freeze": Faults.freeze,
    "leave": Faults.leave,
    "halves": Faults.halves,
    "isolate": Faults.isolate,
    "bridge": Faults.bridge,
    "flapping": Faults.flapping,
    "one-way": Faults.one_way,
    "loss": Faults.loss,
    "duplicate": Faults.duplicate,
    "reorder": Faults.reorder,
    "slow network": Faults.slow_network,
    "weight": Faults.weight,
    "clock step": Faults.clock_step,
    "disk full": Faults.disk_full,
    "slow disk": Faults.slow_disk,
    "older copy": Faults.older_copy,
    "empty disk": Faults.empty,
}
NAMES = (*ACTIONS, "clock", "rolling upgrade")
