"""Three regions of nodes, some tens of milliseconds apart: the script's words for cutting, losing and asking."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from gossip.config import SwimConfig
from gossip.member import LIVE
from node.execution.jobs import JobKey
from sharding.region import region_of
from state.join import TERMINAL
from state.model import FIRST_RUN
from tests.sim import checkers
from tests.sim.faults import CALM
from tests.sim.model import NOTHING
from tests.sim.network import Link
from tests.sim.node import SimNode
from tests.sim.watch import Watch
from tests.sim.workload import Submitted
from tests.sim.world import World

WIDE = Link(delay=(0.02, 0.12), fifo=True)
REGIONS = ("ap", "eu", "us")


class Reports:
    """Passes on what the world watches, and notes in which regions a task ran."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.regions: dict[str, set[str]] = {}
        self.born, self.settled, self.member_changed = watch.born, watch.settled, watch.member_changed

    def reported(self, node: SimNode, key: JobKey) -> None:
        self._watch.reported(node, key)
        self.regions.setdefault(key.task, set()).add(node.config.region)


class Planet:
    """`each`: nodes a region. The world's own faults are off: the script cuts."""

    def __init__(self, seed: int, *, each: int = 2, regions: tuple[str, ...] = REGIONS) -> None:
        print(f"seed {seed}")
        self.rng = random.Random(seed)
        self.world = World(
            seed,
            nodes=each * len(regions),
            faults=(),
            regions=regions,
            gossip=SwimConfig.lan(),
            slots=8,
            pausing=0.0,
        )
        self.regions = regions
        reports = Reports(self.world.watch)
        self.ran = reports.regions
        network = self.world.network
        network.shape(CALM)
        for one in self.world.members:
            for other in self.world.members:
                if one.config.region != other.config.region:
                    network.shape(WIDE, sources=[one.name], destinations=[other.name])
        first = [self.of(region)[0] for region in regions]
        for node in self.world.members:
            node._watcher = reports
            node.seeds = [(other.name, other.address) for other in first if other is not node]
            node.start()
        self.world.eventually(60.0, checkers.members_agree)
        self.run(8.0)

    def of(self, region: str) -> list[SimNode]:
        return [node for node in self.world.members if node.config.region == region]

    def run(self, seconds: float) -> None:
        self.world.clock.run_for(seconds)

    # ---- what the script does

    def submit(
        self,
        region: str,
        *,
        many: int = 6,
        records: int | None = None,
        through: SimNode | None = None,
        more: Mapping[str, Any] = NOTHING,
    ) -> list[Submitted]:
        """Tasks at home in the region, through a node of it unless another is named."""
        tasks = []
        for _ in range(many):
            node = through or self.rng.choice(self.of(region))
            tasks += self.world.workload.submit(records=records, region=region, through=node, more=more)
        return tasks

    def cut(self, region: str) -> None:
        """The region is alone until `heal`."""
        inside = [node.name for node in self.of(region)]
        self.world.network.split(inside, [n.name for n in self.world.members if n.name not in inside])

    def heal(self) -> None:
        self.world.network.heal()

    def kill(self, region: str) -> None:
        for node in self.of(region):
            node.crash()

    def revive(self, region: str) -> None:
        for node in self.of(region):
            node.start()

    # ---- what it asks

    def until(self, within: float, check: Callable[[], None]) -> None:
        self.world.eventually(within, lambda _: check())

    def buried(self, region: str, *, by: str) -> None:
        """No node of the one region believes that one of the other lives."""
        names = {node.name for node in self.of(region)}
        for node in self.of(by):
            alive = {m.id for m in node.members().values() if m.state in LIVE}
            assert not names & alive

    def state(self, node: SimNode, task: Submitted, run: str = FIRST_RUN) -> str:
        entry = node.entry_of(task.slot, task.batch)
        return checkers.state_of(entry, task.index, run) if entry is not None else "unknown"

    def over(self, tasks: list[Submitted], *, seen_by: list[SimNode]) -> None:
        """Each of the tasks has ended, as those of the nodes see it that hold it, and at least one does."""
        for task in tasks:
            states = {self.state(node, task) for node in seen_by if node.core.replicates(task.slot)}
            assert states, f"{task.id} is held by none of them"
            assert states <= TERMINAL, f"{task.id} is {states}"

    def settle(self) -> None:
        """Whole and at rest: all agree, every slot is stewarded at home, every task has ended, nothing is lost."""
        world = self.world
        world.eventually(90.0, checkers.members_agree)
        world.eventually(60.0, checkers.replicas_agree)
        world.eventually(60.0, checkers.one_steward_each)
        self.until(60.0, self.at_home)
        world.eventually(90.0, checkers.tasks_end)
        self.run(1.0)
        checkers.nothing_lost(world)
        checkers.specs_are_as_submitted(world)
        world.eventually(30.0, checkers.meanings_agree)
        checkers.deleted_stays_deleted(world)
        world.eventually(30.0, checkers.queues_drain)
        world.eventually(30.0, checkers.replicas_agree)

    def at_home(self) -> None:
        """Every slot with tasks is stewarded in its home region."""
        for node in self.world.members:
            abroad = [slot for slot in node.core.table.mine if region_of(slot) != node.config.region]
            assert not abroad, f"{node.name} of {node.config.region} stewards {abroad}"
