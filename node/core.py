"""One node's cores, tied together: members, messages, reports and time in, effects out. Pure.

Everything that reaches the core is handled at once and leaves its effects in one list; what one part says to
another
part of the same node never leaves the core.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from gossip.identity import Boot, NodeId
from gossip.member import Member, State
from gossip.versions import OLDEST, PROTOCOL, spoken
from node import messages
from node.comparing import FAR_INTERVAL, Comparing
from node.effects import Effect, Send, Settled
from node.execution.executor import Credit, Executor
from node.execution.jobs import Job, Report
from node.leases.core import FORGETS, LeaseConfig, Leases
from node.leases.gate import Gate
from node.leases.proposer import Result
from node.leases.wire import LeaseToken
from node.messages import Message
from node.replication import Replicator
from node.stewardship.arrears import Arrears
from node.stewardship.custody import Custody
from node.stewardship.ownership import Ownership, OwnershipConfig
from node.stewardship.steward import Steward
from node.stewardship.table import Table
from sharding.key import parse
from sharding.placement import Candidate, Placement
from sharding.region import LOCAL, slot_in, valid
from sharding.slots import SLOTS
from state.base import Kept, batch_of
from state.envelope import Writer, writer_of
from state.ledger import Change
from state.model import Fact


class CoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`slots` is fixed for a region; only the simulator uses fewer. `concurrency`: long jobs at once on this
    node. `protocol`: the newest that this node speaks; only the simulator speaks an older one.
    """

    region: str = LOCAL
    replicas: int = 3
    slots: int = SLOTS
    concurrency: int = 8
    far_interval: float = FAR_INTERVAL
    ownership: OwnershipConfig = OwnershipConfig()
    leases: LeaseConfig = LeaseConfig()
    protocol: int = PROTOCOL


class Core:
    """`sharded(name)`: whether a collector shards its runs. `client_id()`: fresh random 53-bit ids."""

    def __init__(
        self,
        me: NodeId,
        boot: Boot,
        config: CoreConfig,
        *,
        rng: random.Random,
        client_id: Callable[[], int],
        sharded: Callable[[str], bool],
    ) -> None:
        self.me = me
        self.boot = boot
        self.config = config
        self.writer = writer_of(me, boot)
        self.ownership = Ownership(me, config.ownership, config.region)
        comparing = Comparing(me, config.far_interval)
        self.replicator = Replicator(me, self.writer, client_id, self._changed, self._gone, comparing)
        self.table = Table(self.replicator, self.ownership, boot=boot, region=config.region, rng=rng)
        self.leases = Leases(me, boot, config.leases, replicas=config.replicas, slots=config.slots, rng=rng)
        self.executor = Executor(
            me, concurrency=config.concurrency, steward_of=self.steward_of_task, gate=Gate(config.leases.ttl)
        )
        self.steward = Steward(
            self.table,
            sharded=sharded,
            lease_here=self._lease_here,
            own_credit=self.executor.credit,
            keeper=self.leases.keeper,
        )
        self.arrears = Arrears(self.replicator)
        self.custody = Custody(self.replicator, self.ownership, self.table.mine.__contains__)
        self.table.has_all = self.custody.holds
        self.table.homeless = self.leases.maps.homeless
        self.leases.forgets = lambda: self.protocol >= FORGETS
        self.listeners: list[Callable[[int, list[Change], Writer], None]] = []
        self.recall: Callable[[int, str], Sequence[Kept]] = lambda _slot, _batch: ()
        """The facts of an archived batch, which is alive from then on; none if it is alive or not archived"""
        self.strangers: set[tuple[int, str]] = set()
        """Batches of which facts are here but no part, nor a row in the archive"""
        self._boots: dict[NodeId, Boot] = {}
        self._now = 0.0
        self._loading = True
        self.withheld = 0

    # ---- views

    @property
    def now(self) -> float:
        """When the last event was."""
        return self._now

    @property
    def protocol(self) -> int:
        """What the mesh speaks; who is dead may come back as it was."""
        known = [m.meta for m in self.ownership.members.values() if m.state is not State.LEFT]
        return min(self.config.protocol, spoken(known))

    def protocol_of(self, node: NodeId) -> int:
        """The newest protocol that both this node and another speak; the oldest while it is unknown."""
        member = self.ownership.members.get(node)
        return OLDEST if member is None else min(self.config.protocol, member.meta.protocol)

    def steward_of(self, slot: int) -> NodeId | None:
        return self.ownership.steward(slot, self.replicator.ledgers.get(slot), self._now)

    def stewards(self) -> list[NodeId | None]:
        """Of every slot of the own region."""
        return self.stewards_in(self.config.region)

    def stewards_in(self, region: str) -> list[NodeId | None]:
        """Of every slot of the region, by number."""
        first = slot_in(region, 0)
        slots = range(first, first + self.config.slots)
        return self.ownership.stewards(slots, self.replicator.ledgers, self._now)

    def voters_in(self, region: str) -> int:
        """How many vote on a slot of the region, or soon will: who has just joined is on a map within moments."""
        soon = self.ownership.placement.owners(slot_in(region, 0))
        return max(self.leases.maps.voters_in(region), len(soon))

    def steward_of_task(self, task: str) -> NodeId | None:
        found = parse(task)
        return self.steward_of(found.slot) if found is not None else None

    def replicates(self, slot: int) -> bool:
        """Whether this node keeps the slot, as its replica or as the copy of another region."""
        return self.me in self.ownership.placement.holders(slot)

    # ---- events

    def load(self, data: bytes) -> tuple[int, str, int] | None:
        """An envelope from the own log at start: `(slot, author, seq)`, or None if it cannot be applied."""
        item = self.replicator.load(data)
        return None if item is None else (item.slot, str(item.author), item.seq)

    def start(self, now: float, wall_ms: int) -> None:
        """The log is read; from here on changes are looked at."""
        self._loading = False
        self._clock(now, wall_ms)
        self.strangers = {
            (slot, name)
            for slot, ledger in self.replicator.ledgers.items()
            for name, entry in ledger.batches.items()
            if not entry.parts
        }
        self.leases.start(now)
        self.steward.members(())

    def members(self, members: Mapping[NodeId, Member], now: float, wall_ms: int) -> None:
        """The members as gossip sees them now."""
        self._clock(now, wall_ms)
        gone = [node for node, boot in self._boots.items() if not _same_life(members.get(node), boot)]
        self._boots = {node: m.boot for node, m in members.items() if m.state in (State.ALIVE, State.SUSPECT)}
        self.ownership.members = members
        self.ownership.damping.observe(members, now)
        self.ownership.regions.observe(members, now)
        placement = self._place(members, now)
        if placement != self.ownership.placement:
            self.ownership.placement = placement
        live = self.ownership.live()
        self.leases.members(members, now)
        far = frozenset(node for node in live if members[node].meta.region != self.config.region)
        self.replicator.members(self.ownership.placement, live, now, far)
        self.table.hearing.members(live, now)
        self.custody.placed(self.ownership.placement, live)
        self.executor.members(live)
        self.steward.members(sorted(gone))
        for node in gone:
            self.steward.leasing.credit.pop(node, None)

    def _place(self, members: Mapping[NodeId, Member], now: float) -> Placement:
        """Who ranks: the living, and the dead for a while, so that a restart copies nothing. Of weight 0 are those
        that are drained; where nobody else is left, they rank.
        """
        after = self.config.ownership.replace_after
        ranked = [
            Candidate(member.id, member.meta.weight, member.meta.zone, member.meta.region)
            for member in members.values()
            if member.state in (State.ALIVE, State.SUSPECT)
            or (member.state is State.DEAD and now < member.since + after)
        ]
        if not any(candidate.weight for candidate in ranked if candidate.id in self.ownership.live()):
            ranked = [candidate._replace(weight=1.0) for candidate in ranked]
        return Placement(ranked, replicas=self.config.replicas, slots=self.config.slots)

    def receive(self, sender: NodeId, message: Message, now: float, wall_ms: int) -> None:
        self._clock(now, wall_ms)
        self._dispatch(sender, message)

    def _dispatch(self, sender: NodeId, message: Message) -> None:
        match message:
            case messages.Lease(jobs):
                self.executor.lease(sender, jobs, self._now)
            case messages.Revoke(keys, token, drain):
                self.executor.revoke(keys, token, drain=drain)
            case messages.Rates(rates, token):
                self.executor.pace(rates, token)
            case messages.Reports(reports, credit):
                self.steward.leasing.credit[sender] = Credit(*credit)
                self.steward.reports(sender, reports)
            case messages.Holding(keys):
                self.steward.leasing.holding(sender, keys)
            case messages.Noted(keys):
                self.executor.noted(keys)
            case messages.PauseAsk(jobs=jobs):
                self.leases.asked(sender, message, self.steward.leasing.strays(sender, jobs), self._now)
            case messages.PauseTold():
                self.executor.may_go_on(sender, message, self._now)
            case messages.LeaseAsk() | messages.LeaseTold() | messages.LeaseMaps():
                self.leases.receive(sender, message, self._now)
            case messages.Handover(slots):
                self.steward.handover([slot for slot in slots if valid(slot, self.config.slots)])
            case messages.Hold():
                self.custody.asked(sender, message)
            case messages.Held():
                self.custody.answered(sender, message)
            case messages.Heads(slots, answer):
                self._heads(sender, slots, answer=answer)
            case messages.Facts():
                self.steward.leasing.facts[sender] = message
            case _:
                self.replicator.receive(sender, message, self._now)

    def _heads(self, sender: NodeId, slots: dict[int, dict[str, int]], *, answer: bool) -> None:
        """What another has: answered with what it lacks, and, where we want it, by asking for what we lack."""
        self.arrears.heard(sender, slots, self._now)
        wanted = {slot: heads for slot, heads in slots.items() if self.custody.fetched(slot)}
        if len(wanted) < len(slots):
            rest = {slot: heads for slot, heads in slots.items() if slot not in wanted}
            self.replicator.receive(sender, messages.Heads(rest, answer=False), self._now)
        self.replicator.receive(sender, messages.Heads(wanted, answer=answer), self._now)

    def appended(self, batch: int, now: float, wall_ms: int) -> None:
        self._clock(now, wall_ms)
        self.replicator.appended(batch)
        self.custody.appended(batch)

    def kept(self, batch: int, now: float, wall_ms: int) -> None:
        """What this node promised as a voter is durable."""
        self._clock(now, wall_ms)
        self.leases.kept(batch)

    def reported(self, reports: Iterable[Report], now: float, wall_ms: int) -> None:
        """The runner of this node says what became of jobs."""
        self._clock(now, wall_ms)
        for report in reports:
            self.executor.report(report, now)

    def tick(self, now: float, wall_ms: int) -> None:
        self._clock(now, wall_ms)
        self.replicator.tick(now)
        self.leases.tick(now)
        self.custody.tick(now)
        self.executor.tick(now)
        self.steward.tick()

    def write(
        self, slot: int, facts: Sequence[tuple[str | None, str, Fact]], now: float, wall_ms: int
    ) -> int:
        """Write a user's facts here; the ticket that `Settled` names."""
        self._clock(now, wall_ms)
        return self.replicator.write(slot, facts, now)

    def propose(
        self,
        kind: str,
        name: str,
        slot: int,
        token: LeaseToken,
        done: Callable[[Result], None],
        *,
        ttl: float,
        note: str,
        now: float,
        wall_ms: int,
    ) -> None:
        """Ask the voters of a slot for a lease, as `Leases.propose`."""
        self._clock(now, wall_ms)
        self.leases.propose(kind, name, slot, token, done, ttl=ttl, note=note, now=now)

    # ---- inside

    def _clock(self, now: float, wall_ms: int) -> None:
        self._now = self.table.now = now
        self.table.wall_ms = wall_ms
        self.table.hearing.clock(now)

    def _changed(self, slot: int, changes: list[Change], author: Writer) -> set[str]:
        if self._loading:
            return set()
        newer = self._recall(slot, changes)
        if newer:
            changes = [change for change in changes if change[0] not in newer]
        self.steward.changed(slot, changes, author)
        for listener in self.listeners:
            listener(slot, changes, author)
        return newer

    def _recall(self, slot: int, changes: list[Change]) -> set[str]:
        """Bring archived batches back that somebody writes about, before anyone takes them for new ones; the keys of
        what came back, which is never older than what was written.
        """
        ledger = self.replicator.ledgers[slot]
        about = [
            batch
            for key, _ in changes
            if (batch := batch_of(key)) and (key[0] == "b" or not ledger.batches[batch].parts)
        ]
        back: set[str] = set()
        for batch in dict.fromkeys(about):
            facts = self.recall(slot, batch)
            if facts:
                back |= self.replicator.thaw(slot, facts)
            elif not ledger.batches[batch].parts:
                self.strangers.add((slot, batch))
        return back

    def _gone(self, slot: int, batches: list[str]) -> None:
        self.steward.forget(slot, batches)

    def _lease_here(self, jobs: list[Job]) -> None:
        self.executor.lease(self.me, jobs, self._now)

    def flush(self) -> list[Effect]:
        """All effects since the last flush, in order; call it after each event or handful of events."""
        out: list[Effect] = []
        while True:
            effects = self.steward.flush()
            executed, reports = self.executor.flush()
            effects += executed
            effects += self.replicator.flush()
            effects += self.leases.flush()
            effects += self.custody.flush()
            local = bool(reports)
            if reports:
                self.steward.reports(self.me, reports)
            for effect in effects:
                if isinstance(effect, Send) and effect.to == self.me:
                    self._dispatch(self.me, effect.message)
                    local = True
                    continue
                if isinstance(effect, Send) and effect.message.since > self.protocol_of(effect.to):
                    self.withheld += 1
                    continue
                if isinstance(effect, Settled):
                    self.steward.settled(effect.ticket, effect.level)
                    local = True
                out.append(effect)
            if not local:
                return out


def _same_life(member: Member | None, boot: Boot) -> bool:
    return member is not None and member.boot == boot and member.state in (State.ALIVE, State.SUSPECT)
