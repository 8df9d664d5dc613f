"""Clients that each speak through one node, and what they may expect of it: I17."""

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from state import join
from state.join import Desired
from tests.sim.disk import Name
from tests.sim.node import SimNode
from tests.sim.workload import Submitted, owns

if TYPE_CHECKING:
    from tests.sim.world import World

CLIENTS = 4
TASKS = 3
"""Tasks that a client turns to, so that it has several commands for each."""


@dataclass
class Command:
    """`by`: who the wish says that it is from, once in the world; `names`: the envelopes that hold it."""

    by: str
    revision: int
    names: list[Name]


@dataclass
class Session:
    """`commands`: by task and by how often the node's disk was replaced: what it has forgotten it can not put in order
    with what follows. `seen`: (task, life of the node) -> the newest revision that was read."""

    client: int
    node: SimNode
    tasks: list[Submitted] = field(default_factory=list)
    commands: dict[tuple[str, int], list[Command]] = field(default_factory=dict)
    seen: dict[tuple[str, int], int] = field(default_factory=dict)


class Sessions:
    def __init__(self, world: "World", seed: int) -> None:
        self.world = world
        self.rng = random.Random(f"{seed}:sessions")
        self._all = [Session(number, self.rng.choice(world.members)) for number in range(CLIENTS)]
        self._given = 0

    def step(self) -> None:
        """Every other time some client reads a task, gives a command, and reads again."""
        session = self.rng.choice(self._all)
        task = self._task(session) if self.rng.random() < 0.5 else None
        if not session.node.able or session.node not in self.world.members or task is None:
            return
        before = self._read(session, task)
        if before is None or before.deleted:
            return
        self._given += 1
        by, priority = f"{session.client}/{self._given}", self.rng.randint(0, 9)
        names = self.world.workload.wish(session.node, task, "priority", by=by, priority=priority)
        after = self._read(session, task)
        assert after is not None
        assert (after.priority, after.revision > before.revision) == (priority, True), (
            f"I17: {session.node.name} answers {after.priority} at {after.revision} to {by}, which said {priority}"
        )
        where = (task.id, session.node.disk.replaced)
        session.commands.setdefault(where, []).append(Command(by, after.revision, names))
        self.world.hits["command in a session"] += 1

    def _task(self, session: Session) -> Submitted | None:
        """One that the node is asked about for itself: it is a replica."""
        if len(session.tasks) < TASKS:
            known = [t for t in self.world.tasks if t.acked and not t.excused and t not in session.tasks]
            session.tasks += self.rng.sample(known, min(1, len(known)))
        mine = [task for task in session.tasks if owns(session.node, task.slot)] if session.node.up else []
        return self.rng.choice(mine) if mine else None

    def _read(self, session: Session, task: Submitted) -> Desired | None:
        """Reads never go back in one life of the node; and in any they show what it has on its disk of the client's."""
        node, found = session.node, desired(session.node, task)
        if found is None:
            return None
        where = (task.id, node.life)
        before = session.seen.get(where, 0)
        assert found.revision >= before, (
            f"I17: {task.id} went from revision {before} to {found.revision} at {node.name}"
        )
        session.seen[where] = found.revision
        for command in session.commands.get((task.id, node.disk.replaced), ()):
            kept = all(name in node.disk.by_name for name in command.names)
            assert not kept or found.revision >= command.revision, (
                f"I17: {node.name} reads {task.id} at {found.revision} and holds {command.by} of {command.revision}"
            )
        return found

    def in_order(self, world: "World") -> None:
        """I17: the commands of a client that are left count in the order in which it gave them, everywhere."""
        tasks = {task.id: task for task in world.tasks}
        for session in self._all:
            for (name, _), commands in session.commands.items():
                given = [command.by for command in commands if all(map(world.holders, command.names))]
                for node in world.members:
                    if owns(node, tasks[name].slot) and not tasks[name].excused:
                        found = _heard(node, tasks[name], given)
                        assert found == given, f"I17: {node.name} has {found} of {name}, not {given}"
                world.hits["commands of a session in order"] += len(given) > 1


def desired(node: SimNode, task: Submitted) -> Desired | None:
    """What is wished of the task, as this node would answer; None: it does not know it."""
    entry = node.entry_of(task.slot, task.batch)
    if entry is None or task.index not in entry.present:
        return None
    facts = entry.tasks.get(task.index)
    return join.desired(facts.wishes) if facts is not None else join.NOTHING_DESIRED


def _heard(node: SimNode, task: Submitted, given: list[str]) -> list[str]:
    """Of these commands those that the node knows, as they count."""
    entry = node.entry_of(task.slot, task.batch)
    facts = entry.tasks.get(task.index) if entry is not None else None
    wishes = sorted(facts.wishes, key=join._order) if facts is not None else []
    return list(dict.fromkeys(wish.by for wish in wishes if wish.by in given))
