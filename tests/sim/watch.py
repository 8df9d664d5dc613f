"""The invariants that hold at every step, held against what each node does as it does it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gossip.identity import NodeId
from gossip.member import LIVE, RANK, Member, State
from node.execution.jobs import Job, JobKey
from sharding.key import TaskId, parse
from state import join, model
from state.entries import RunFacts
from state.envelope import Writer, writer_boot, writer_node
from state.ledger import Change
from state.model import FIRST_RUN, NO_TOKEN, Claim, Progress, RunFact, Token
from tests.sim.model import Place
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
        self._holders: dict[tuple[str, int, int], Token] = {}
        self._handed: set[tuple[str, int, int]] = set()
        self._writers: dict[str, tuple[str, int]] = {}
        self._leased: set[tuple[Place, Token]] = set()
        self._accepted: dict[Place, Token] = {}
        world.sink.accepted = self._commits

    # ---- what nodes tell

    def born(self, node: SimNode) -> None:
        """No two lives write under one name: an author's sequence would say two things."""
        life = (node.name, node.life)
        assert self._writers.setdefault(node.core.writer, life) == life, (
            f"I12: {node.core.writer} lives twice"
        )
        for slot, ledger in node.core.replicator.ledgers.items():
            self._holders[node.name, node.life, slot] = ledger.claim()
        node.core.listeners.append(lambda slot, changes, author: self._changed(node, slot, changes, author))

        taken, lease = node.core.steward.handover, node.core.steward.leasing._lease

        def handover(slots: list[int]) -> None:
            mine = node.core.steward.table.mine
            self._handed.update((node.name, node.life, slot) for slot in slots if slot not in mine)
            taken(slots)

        def leased(to: NodeId, jobs: list[Job]) -> None:
            self._leases(node, jobs)
            lease(to, jobs)

        vars(node.core.steward)["handover"] = handover
        vars(node.core.steward.leasing)["_lease"] = leased

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

    def _leases(self, steward: SimNode, jobs: list[Job]) -> None:
        """What a steward leases, against what its own ledger says at that moment."""
        for job in jobs:
            task, owner = parse(job.key.task), self.world.workload.owners[job.key.task]
            assert task is not None
            assert job.tenant == owner, f"I22: {job.key} of {owner} is leased for {job.tenant}"
            entry = steward.core.replicator.ledgers[task.slot].batches[task.batch]
            facts = entry.tasks.get(task.place)
            run = facts.runs.get(job.key.run) if facts is not None else None
            self._under_the_largest(steward, job, task.slot)
            if job.key.kind == "solo" and job.key.run == FIRST_RUN:
                self._not_over(job, entry.done, task.place)
            if run is not None and job.key.kind == "shard":
                self._planned(steward, job, task, run)
                self._from_checkpoint(job, run)

    def _not_over(self, job: Job, done: Any, place: int) -> None:
        """I16: what is over is not begun again by one who knows."""
        assert place not in done, f"I16: {job.key} is over and was leased again"

    def _planned(self, steward: SimNode, job: Job, task: TaskId, run: RunFacts) -> None:
        """I3: a shard is leased of the plan that counts, once that plan is durable, here or elsewhere."""
        plan = join.plan_of(run)
        assert plan is not None, f"I3: {job.key} has no plan"
        needle = f"p|{task.batch}|{task.place}|{job.key.run}|{steward.core.writer}".encode()
        unsynced = any(
            item[0] == task.slot
            and needle in item[3]
            and not self.world.holders((task.slot, item[1], item[2]))
            for item in steward.disk.pending
        )
        assert not unsynced or len(run.plans) > 1, f"I3: {job.key} was leased before its plan was durable"

    def _from_checkpoint(self, job: Job, run: RunFacts) -> None:
        """I6: a shard that is leased again by the same steward begins where its last checkpoint is, or later."""
        live = join.live_shards(run).get(job.key.shard)
        if live is not None and live.position is not None and live.token == tuple(job.token):
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

    def _under_the_largest(self, steward: SimNode, job: Job, slot: int) -> None:
        """I4: nobody leases under a claim that, as far as it knows, another has replaced."""
        claim = steward.core.replicator.ledgers[slot].claim()
        assert job.token >= claim, f"I4: {job.key} is leased under {job.token}, its steward knows {claim}"
        self._leased.add(((job.key.task, job.sink_run, job.key.shard), job.token))

    def _commits(self, place: Place, token: Token) -> None:
        """I4: the sink takes commits under tokens alone under which that shard was leased.

        That the tokens of a shard never go back is not promised. A sink compares positions, not tokens: an execution
        that was leased by a steward that had not heard of a newer claim goes on from wherever the sink is by then, also
        when the one under the newer token is over. It loses and repeats nothing (I5, I6). With what is leased
        (`_under_the_largest`), a smaller token after a larger one is always of such a steward.
        """
        assert (place, token) in self._leased, f"I4: {place} is written under {token}, which was not leased"
        largest = self._accepted.setdefault(place, token)
        self.world.hits["commit under an overtaken token"] += token < largest
        self._accepted[place] = max(token, largest)

    # ---- facts

    def _changed(self, node: SimNode, slot: int, changes: Iterable[Change], author: Writer) -> None:
        seen_by = (node.name, node.life)
        for key, fact in changes:
            assert model.author_in(key) == author, f"I12: {author} wrote {key}"
            if isinstance(fact, Progress):
                self._checkpoints(seen_by, key, fact, author)
            elif isinstance(fact, Claim):
                self._epoch(seen_by, slot, fact, author)
                if author == node.core.writer:
                    self._takes_over(node, slot, fact)
                self._holders[node.name, node.life, slot] = max(
                    self._holders.get((node.name, node.life, slot), NO_TOKEN),
                    (fact.epoch, writer_node(author), writer_boot(author)),
                )
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

    def _takes_over(self, node: SimNode, slot: int, fact: Claim) -> None:
        """I3: a slot is taken only when it is handed over, when its steward has been dead for the delay, or once by
        the steward that another overtook while it was cut off.
        """
        epoch, holder, boot = self._holders.get((node.name, node.life, slot), NO_TOKEN)
        assert fact.epoch > epoch, f"I3: {node.name} claims slot {slot} with epoch {fact.epoch} after {epoch}"
        member = node.core.ownership.members.get(NodeId(holder))
        handed = (node.name, node.life, slot) in self._handed
        self._handed.discard((node.name, node.life, slot))
        if member is None or member.boot != boot or member.id == node.name or handed:
            return
        if node.core.ownership._outvoted.get(slot, ("", 0.0))[0] == holder:
            self.world.hits["claim of a lone node outvoted"] += 1
            return
        delay = node.core.config.ownership.takeover_delay
        assert member.state not in LIVE or not member.meta.ready, (
            f"I3: slot {slot} was taken from live {holder}"
        )
        early = member.state is State.DEAD and node.now < member.since + delay
        assert not early, f"I3: {node.name} took slot {slot} before the delay"

    def _finality(self, seen_by: object, key: str, fact: RunFact, author: Writer) -> None:
        """A run that a writer has ended stays ended for it, in the same or a better way."""
        where = (seen_by, key, author)
        rank = _FINALITY[fact.state]
        assert rank >= self._reached.get(where, 0), f"I8: {key} went back to {fact.state}"
        self._reached[where] = rank
