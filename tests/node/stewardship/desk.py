"""The production core of a node with a driver that does nothing by itself: the test says what jobs come to, and when.

Several desks make a mesh: what one sends is delivered by `settle`, at once and in order.
"""

import itertools
import json
import random
from typing import Any

from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta, State
from gossip.versions import PROTOCOL
from node import messages, operations
from node.core import Core, CoreConfig
from node.effects import Append, Keep, Notice, Rate, Resend, Run, Send, Settled, Stop
from node.execution.jobs import Counts, Job, JobKey, Report
from node.messages import Facts
from node.operations import Origin
from plugins.api import ShardPlan
from sharding.key import parse
from state import join
from state.entries import Batch
from state.model import FIRST_RUN, RunFact

WALL = 1_700_000_000_000


def spec(plugin: str = "solo", **fields: Any) -> bytes:
    """A canonical spec; the collector "solo" does not shard, every other one does."""
    return json.dumps(
        {"source": {"plugin": plugin}, "sink": [{"plugin": "s", "key": ["id"]}], **fields}
    ).encode()


def facts_of(name: str, **fields: Any) -> Facts:
    plugins = {"collector:solo": "1", "collector:many": "1", "sink:s": "1"}
    return Facts(name=name, roots={}, plugins=plugins, secrets=[], labels={}, http="", version="1", **fields)


def member(
    name: str, *, state: State = State.ALIVE, boot: int = 1, since: float = 0.0, ready: bool = True
) -> Member:
    meta = Meta(name=name, zone="", ready=ready, protocol=PROTOCOL)
    return Member(NodeId(name), Boot(boot), 0, state, name, meta, since)


class Desk:
    """`jobs`: what the core told its runner to run and nobody has ended yet; `stops`: (key, drain) in order."""

    def __init__(self, name: str = "a", *, boot: int = 1, now: float = 100.0, **config: Any) -> None:
        self.name = NodeId(name)
        self.now = now
        ids = itertools.count(hash((len(name), boot)) & 0xFFFF | 1 << 20 | ord(name[0]) << 30)
        self.core = Core(
            self.name, Boot(boot), CoreConfig(slots=8, **config), rng=random.Random(f"{name}{boot}"),
            client_id=lambda: next(ids), sharded=lambda plugin: plugin != "solo",
        )  # fmt: skip
        self.jobs: dict[JobKey, Job] = {}
        self.started: list[Job] = []
        self.stops: list[tuple[JobKey, bool]] = []
        self.rates: dict[JobKey, float | None] = {}
        """What the runner was told last of each job."""
        self.levels: dict[int, int] = {}
        self.notices: list[Notice] = []
        self.outbox: list[tuple[NodeId, messages.Message]] = []
        self.log: dict[tuple[int, str, int], bytes] = {}
        self.appends: list[int] = []
        self.durable = True
        """Whether the disk answers at once."""
        self._keys = itertools.count()

    @property
    def wall(self) -> int:
        return WALL + int(self.now * 1000)

    def join(self, *members: Member) -> None:
        """From now on the members are these."""
        if self.core._loading:
            self.core.start(self.now, self.wall)
        self.core.members({m.id: m for m in members or (member(self.name),)}, self.now, self.wall)
        for m in members or (member(self.name),):
            self.core.receive(m.id, facts_of(m.id), self.now, self.wall)
        self.flush()

    def flush(self) -> None:
        for _ in range(50):
            effects = self.core.flush()
            if not effects:
                return
            for effect in effects:
                self._carry_out(effect)
        raise AssertionError("the core does not come to rest")

    def _carry_out(self, effect: object) -> None:
        match effect:
            case Append(batch, items):
                self.log.update({item[:3]: item[3] for item in items})
                self.appends.append(batch)
                if self.durable:
                    self.synced()
            case Run(jobs):
                self.started += jobs
                self.jobs.update({job.key: job for job in jobs})
                self.rates.update({job.key: job.rate for job in jobs})
            case Rate(key, rate):
                self.rates[key] = rate
            case Stop(key, drain):
                self.stops.append((key, drain))
            case Send(to, message):
                self.outbox.append((to, message))
            case Resend(to, ranges):
                found = [self.log[s, a, n] for s, a, low, high in ranges for n in range(low, high + 1)]
                self.outbox.append((to, messages.Envelopes(found)))
            case Keep(batch, _):
                self.core.kept(batch, self.now, self.wall)
            case Settled(ticket, level):
                self.levels[ticket] = level
            case Notice():
                self.notices.append(effect)
            case _:
                pass

    def synced(self) -> None:
        batches, self.appends = self.appends, []
        for batch in batches:
            self.core.appended(batch, self.now, self.wall)

    def step(self, seconds: float = 0.1, *, pace: float = 0.1) -> None:
        """Time passes, with a tick every `pace` seconds."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + pace)
            self.core.tick(self.now, self.wall)
            self.flush()

    # ---- users

    def submit(self, *specs: bytes, key: str = "", tenant: str = "t", name: str | None = None) -> list[str]:
        key = key or f"{self.name}{next(self._keys)}"
        origin = Origin(node=self.name, writer=self.core.writer)
        ids: list[str] = []
        for part in operations.group(list(specs), tenant=tenant, key=key, region="local", name=name, slots=8):
            facts = operations.submit_facts(part, origin, tenant=tenant, key=key, now_ms=self.wall)
            self.core.write(part.slot, facts, self.now, self.wall)
            ids += part.ids
        self.flush()
        return ids

    def wish(self, task: str, kind: str, *, run: str = "", **arguments: Any) -> None:
        at = parse(task)
        assert at is not None
        fact = operations.wish(
            self.core.replicator.ledger(at.slot), at.batch, [at.place], kind, writer=self.core.writer,
            key=str(next(self._keys)), now_ms=self.wall, arguments=arguments, run=run,
        )  # fmt: skip
        self.core.write(at.slot, [fact], self.now, self.wall)
        self.flush()

    # ---- the runner

    def end(self, job: Job, state: str = "done", *, written: int = 0, **fields: Any) -> None:
        """What became of a job, as its runner says it."""
        if state != "progress":
            self.jobs.pop(job.key, None)
        fields.setdefault("counts", Counts(written, written))
        self.core.reported(
            [Report(key=job.key, state=state, token=job.token, seconds=0.01, **fields)], self.now, self.wall
        )
        self.flush()

    def plan(self, job: Job, *shards: str, **covers: tuple[Any, Any]) -> None:
        plans = tuple(ShardPlan(key=key, start=0, end=10, covers=covers.get(key)) for key in shards)
        self.end(job, "planned", plans=plans)

    def waiting(self, kind: str, task: str | None = None) -> list[Job]:
        return [job for key, job in self.jobs.items() if key.kind == kind and task in (None, key.task)]

    def one(self, kind: str, task: str | None = None) -> Job:
        (job,) = self.waiting(kind, task)
        return job

    # ---- what is known

    def batch(self, task: str) -> tuple[Batch, int]:
        at = parse(task)
        assert at is not None
        return self.core.replicator.ledger(at.slot).batches[at.batch], at.place

    def run_fact(self, task: str, run: str = FIRST_RUN) -> RunFact | None:
        batch, place = self.batch(task)
        facts = batch.tasks.get(place)
        return join.run_fact(facts.runs[run].facts) if facts is not None and run in facts.runs else None

    def state(self, task: str, run: str = FIRST_RUN) -> str:
        """The state of a run as the ledger tells it; "" before anything is known."""
        batch, place = self.batch(task)
        if run == FIRST_RUN and place in batch.done:
            outcome = batch.outcome(place)
            assert outcome is not None
            return outcome.group.state
        fact = self.run_fact(task, run)
        return fact.state if fact is not None else ""


def settle(*desks: Desk, lose: type[messages.Message] | None = None) -> None:
    """Deliver what the desks say to each other, until nobody says anything more. `lose`: these get lost."""
    by_name = {desk.name: desk for desk in desks}
    for _ in range(200):
        sent = [(desk.name, *item) for desk in desks for item in desk.outbox]
        for desk in desks:
            desk.outbox = []
        if not sent:
            return
        for sender, to, message in sent:
            if to in by_name and not (lose is not None and isinstance(message, lose)):
                desk = by_name[to]
                desk.core.receive(sender, messages.decode(messages.encode(message)), desk.now, desk.wall)
                desk.flush()
    raise AssertionError("the desks do not come to rest")


def run_all(
    desks: list[Desk], seconds: float, *, pace: float = 0.1, lose: type[messages.Message] | None = None
) -> None:
    for _ in range(round(seconds / pace)):
        for desk in desks:
            desk.step(pace, pace=pace)
        settle(*desks, lose=lose)
