"""The invariants that hold at every step, held against what each node does as it does it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gossip.member import RANK, Member
from node.execution.jobs import Job, JobKey
from sharding.key import parse
from state import join, model
from state.envelope import Writer
from state.ledger import Change
from state.model import Claim, Progress, RunFact
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World

_FINALITY = {"running": 0, "failed": 1, "cancelled": 2, "partial": 3, "succeeded": 4}


class Watch:
    def __init__(self, world: "World") -> None:
        self.world = world
        self._reached: dict[object, int] = {}
        self._epochs: dict[object, int] = {}
        self._tokens: dict[object, Any] = {}
        self._claimed: dict[object, tuple[int, int]] = {}
        self._writers: dict[str, tuple[str, int]] = {}

    # ---- what nodes tell

    def born(self, node: SimNode) -> None:
        """No two lives write under one name: an author's sequence would say two things."""
        life = (node.name, node.life)
        assert self._writers.setdefault(node.core.writer, life) == life, (
            f"I12: {node.core.writer} lives twice"
        )
        node.core.listeners.append(lambda slot, changes, author: self._changed(node, slot, changes, author))

    def settled(self, node: SimNode, ticket: int, level: int) -> None:
        self.world.workload.settled(node, ticket, level)

    def member_changed(self, node: SimNode, member: Member) -> None:
        """I14: only the subject raises its incarnation; what a node believes of a member never gets older."""
        where = (node.name, node.life, member.id)
        belief = (member.incarnation, RANK[member.state])
        before = self._claimed.get(where, (0, 0))
        assert belief >= before, f"I14: {node.name} went from {before} to {belief} about {member.id}"
        self._claimed[where] = belief
        subject = self.world.member_of(member.id)
        if subject is not None and subject.boot == member.boot and hasattr(subject, "swim"):
            own = subject.swim.members[subject.name].incarnation
            assert member.incarnation <= own, f"I14: {node.name} has raised the incarnation of {member.id}"

    def leased(self, node: SimNode, job: Any) -> None:
        """I6: a shard that is leased again by the same steward begins where its last checkpoint is, or later."""
        assert isinstance(job, Job)
        token = tuple(job.token)
        steward = self.world.member_of(str(token[1]))
        task = parse(job.key.task)
        if steward is None or task is None or not steward.up or steward.boot != token[2]:
            return
        ledger = steward.core.replicator.ledgers.get(task.slot)
        entry = ledger.batches.get(task.batch) if ledger is not None else None
        facts = entry.tasks.get(task.place) if entry is not None else None
        run = facts.runs.get(job.key.run) if facts is not None else None
        if run is None or job.key.kind not in ("shard", "solo"):
            return
        live = join.live_shards(run).get(job.key.shard)
        if live is not None and live.position is not None and live.token == token:
            resume = job.resume if job.resume is not None else -1
            assert resume >= live.position, f"I6: {job.key} resumes at {resume}, {live.position} is recorded"

    def reported(self, node: SimNode, key: JobKey) -> None:
        """I4: while an executor holds a lease, its token never becomes smaller."""
        lease = node.core.executor._leases.get(key)
        if lease is not None:
            where = (node.name, node.life, key)
            before = self._tokens.get(where)
            if before is not None and before[0] is lease:
                assert lease.token >= before[1], (
                    f"I4: {node.name} took {lease.token} for {before[1]} on {key}"
                )
            self._tokens[where] = (lease, lease.token)

    # ---- facts

    def _changed(self, node: SimNode, slot: int, changes: Iterable[Change], author: Writer) -> None:
        seen_by = (node.name, node.life)
        for key, fact in changes:
            assert model.author_in(key) == author, f"I12: {author} wrote {key}"
            if isinstance(fact, Progress):
                self._checkpoints(seen_by, key, fact, author)
            elif isinstance(fact, Claim):
                self._epoch(seen_by, slot, fact, author)
            elif isinstance(fact, RunFact):
                self._finality(seen_by, key, fact, author)

    def _checkpoints(self, seen_by: object, key: str, fact: Progress, author: Writer) -> None:
        """I8: a checkpoint never goes back at an owner with a token, as each life of each node sees it."""
        for shard, live in fact.shards.items():
            where = (seen_by, key, shard, live.token, author)
            position = live.position or 0
            assert position >= self._reached.get(where, 0), f"I8: {where} went back to {position}"
            self._reached[where] = position

    def _epoch(self, seen_by: object, slot: int, fact: Claim, author: Writer) -> None:
        """I3: the epochs that one writer claims for a slot rise."""
        where = (seen_by, slot, author)
        assert fact.epoch > self._epochs.get(where, 0), f"I3: {where} claims epoch {fact.epoch} again"
        self._epochs[where] = fact.epoch

    def _finality(self, seen_by: object, key: str, fact: RunFact, author: Writer) -> None:
        """A run that a writer has ended stays ended for it, in the same or a better way."""
        where = (seen_by, key, author)
        rank = _FINALITY[fact.state]
        assert rank >= self._reached.get(where, 0), f"I8: {key} went back to {fact.state}"
        self._reached[where] = rank
