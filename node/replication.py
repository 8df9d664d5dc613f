"""When a fact is safe, and how replicas become equal. Pure: effects out, no I/O.

A write is applied here, appended to the log and sent to the slot's other live replicas in one step. It is
*settled*
when it is durable here and on the fastest other replica, or after `ACK_TIMEOUT` with what it has achieved by
then; a log that is slow, not `stalled`, has `ticket.DISK_TIMEOUT` more.
Nothing that arrives is acknowledged (`Stored`) before it is durable here.

Lost messages show as gaps or unequal digests: now and then (`comparing`) a root digest goes to each peer; where it
differs, digests a slot, then heads, then the missing envelopes from the log of whoever has them. A node that no longer
is a replica of a slot it holds keeps offering it in the same way, so nothing that only it accepted is lost. The copy of
a slot in another region is fed in this way alone.

Folding. A ledger is folded now and then (`fold`): what is over goes to the archive, the log before the fold is let go.
Whoever lacks envelopes from before it gets the base and the archive instead (`SendBase`, `adopt`).

Invariant (I1): `Settled(level=n)` is never said before n disks hold the write.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from gossip.identity import NodeId
from node import messages
from node.comparing import Comparing, Overlap
from node.effects import Append, Effect, Resend, Send, SendBase, Settled
from node.lag import Lag
from node.stewardship.specs import check
from node.ticket import Ticket
from sharding.placement import Placement
from sharding.region import valid
from state import envelope as envelopes
from state import sync
from state.base import Base, Kept
from state.envelope import BadEnvelope, Envelope, Writer
from state.ledger import Change, Gap, Ledger
from state.model import Fact, author_in

ACK_TIMEOUT = 1.0
"""Seconds that a write waits for a second disk. Longer: fewer answers with durability 1 while a replica is
slow.
"""
MESSAGE_BYTES = 4 << 20


class Replicator:
    """`on_change(slot, changes, author)` is called, within `handle`, for every fact that becomes known
    here; it returns the keys of which it has told newer facts by then. `on_gone(slot, batches)`: for batches that left
    memory: archived, or dropped.
    """

    def __init__(
        self,
        me: NodeId,
        writer: Writer,
        client_id: Callable[[], int],
        on_change: Callable[[int, list[Change], Writer], set[str]],
        on_gone: Callable[[int, list[str]], None] = lambda _slot, _names: None,
        comparing: Comparing | None = None,
    ) -> None:
        self.me = me
        self.writer = writer
        self.ledgers: dict[int, Ledger] = {}
        self.placement = Placement((), slots=1)
        self.live: frozenset[NodeId] = frozenset()
        self.rejected = 0
        self.synced: set[NodeId] = set()
        self.comparing = comparing or Comparing(me)
        self.lag = Lag()
        self.stalled = False
        """The own log cannot be written now."""
        self.outlived = False
        """Another node holds envelopes of this life that this node does not: an earlier life, whose disk was lost
        to it, had the same boot."""
        self._client_id = client_id
        self._on_change = on_change
        self._on_gone = on_gone
        self._effects: list[Effect] = []
        self._pending: list[tuple[int, str, int, bytes]] = []
        self._waiting: list[tuple[int, NodeId | None, list[tuple[int, str, int]]]] = []
        self._outbox: dict[NodeId, list[bytes]] = {}
        self._batch = 0
        self._appending: dict[int, list[tuple[int, NodeId | None, list[tuple[int, str, int]]]]] = {}
        self._tickets: dict[int, Ticket] = {}
        self._by_envelope: dict[tuple[int, int], int] = {}
        self._next_ticket = 0
        self._overlap = Overlap(me)
        self._asked: dict[tuple[NodeId, int], float] = {}
        self._offered: dict[tuple[NodeId, int], float] = {}
        self._now = 0.0

    # ---- writing

    def ledger(self, slot: int) -> Ledger:
        found = self.ledgers.get(slot)
        if found is None:
            found = self.ledgers[slot] = Ledger(slot, self._client_id, check)
        return found

    def peers(self, slot: int) -> list[NodeId]:
        """The other live replicas of the slot."""
        return [node for node in self.placement.owners(slot) if node != self.me and node in self.live]

    def write(self, slot: int, facts: Iterable[tuple[str | None, str, Fact]], now: float) -> int:
        """Write facts of one slot; the ticket that `Settled` will name."""
        self._next_ticket += 1
        ticket_id = self._next_ticket
        produced, changes = self.ledger(slot).write(self.writer, facts)
        ticket = self._tickets[ticket_id] = Ticket(2, now + ACK_TIMEOUT)
        names = [(slot, str(item.author), item.seq) for item in produced]
        encoded = [envelopes.encode(item) for item in produced]
        self._pending.extend((*name, data) for name, data in zip(names, encoded, strict=True))
        for peer in self.peers(slot):
            self._outbox.setdefault(peer, []).extend(encoded)
            ticket.peers[peer] = {(slot, seq) for _, _, seq in names}
            if names:
                self.lag.sent(peer, (slot, names[-1][2]), now)
        for _, _, seq in names:
            self._by_envelope[slot, seq] = ticket_id
        self._waiting.append((ticket_id, None, names))
        self._on_change(slot, changes, self.writer)
        return ticket_id

    def load(self, data: bytes) -> Envelope | None:
        """Apply an envelope from the own log at start; None if the ledger cannot take it (a gap after
        damage).
        """
        item = envelopes.decode(data)
        try:
            self.ledger(item.slot).apply(item)
        except (Gap, BadEnvelope):
            return None
        return item

    # ---- folding

    def restore(self, base: Base) -> None:
        """The base that a fold left on the own disk, at start, before the log is read."""
        self.ledger(base.slot).adopt(base)

    def fold(self, slot: int, over: Iterable[str], gone: Iterable[str]) -> dict[str, list[Kept]]:
        """See `Ledger.fold`; the facts of the batches that are over."""
        over, gone = list(over), list(gone)
        rows = self.ledger(slot).fold(over, gone)
        if over or gone:
            self._on_gone(slot, [*over, *gone])
        return rows

    def adopt(self, base: Base, rows: Mapping[str, Sequence[Kept]]) -> None:
        """Take another replica's base; `rows`: see `Ledger.adopt`."""
        changes, dropped = self.ledger(base.slot).adopt(base, rows)
        if dropped:
            self._on_gone(base.slot, dropped)
        self._tell(base.slot, changes)

    def thaw(self, slot: int, facts: Iterable[Kept]) -> set[str]:
        """An archived batch is wanted again; the keys that it brought."""
        changes = self.ledger(slot).thaw(facts)
        self._tell(slot, changes)
        return {key for key, _ in changes}

    def _tell(self, slot: int, changes: list[Change]) -> None:
        by_author: dict[Writer, list[Change]] = {}
        for key, fact in changes:
            author = author_in(key)
            assert author is not None
            by_author.setdefault(author, []).append((key, fact))
        newer: set[str] = set()
        for author, some in by_author.items():
            newer |= self._on_change(slot, [one for one in some if one[0] not in newer], author)

    def flush(self) -> list[Effect]:
        """What has gathered since the last flush, in as few effects as possible."""
        if not (self._pending or self._waiting or self._outbox or self._effects):
            return []
        if self._pending or self._waiting:
            self._batch += 1
            self._appending[self._batch] = self._waiting
            self._effects.append(Append(self._batch, self._pending))
            self._pending, self._waiting = [], []
        for peer, items in self._outbox.items():
            for chunk in _chunks(items):
                self._effects.append(Send(peer, messages.Envelopes(chunk)))
        self._outbox.clear()
        effects, self._effects = self._effects, []
        return effects

    @property
    def unsettled(self) -> bool:
        """Whether a write of this node may be on no disk yet."""
        return bool(self._tickets)

    def barrier(self) -> int:
        """The batch, made for this if need be, that is durable only when all that is applied here by now is."""
        self._waiting.append((0, None, []))
        return self._batch + 1

    # ---- events

    def appended(self, batch: int) -> None:
        """The log has made a batch durable: settle our writes, acknowledge others'."""
        stored: dict[NodeId, list[tuple[int, str, int]]] = {}
        for ticket_id, sender, names in self._appending.pop(batch, []):
            if sender is not None:
                stored.setdefault(sender, []).extend(names)
            elif (ticket := self._tickets.get(ticket_id)) is not None:
                ticket.local = True
                self._settle(ticket_id, ticket)
        for sender, names in stored.items():
            self._effects.append(Send(sender, messages.Stored(names)))

    def _settle(self, ticket_id: int, ticket: Ticket, *, late: bool = False) -> None:
        alone = not any(peer in self.live for peer in ticket.peers)
        if late or ticket.level >= ticket.want or (ticket.local and alone):
            del self._tickets[ticket_id]
            self._effects.append(Settled(ticket_id, ticket.level))

    def tick(self, now: float) -> None:
        self._now = now
        late = [(i, one) for i, one in self._tickets.items() if one.late(now, stalled=self.stalled)]
        for ticket_id, ticket in late:
            self._settle(ticket_id, ticket, late=True)
        if late or len(self._by_envelope) > 4 * len(self._tickets) + 1000:
            self._by_envelope = {k: i for k, i in self._by_envelope.items() if i in self._tickets}
        for peer in self.comparing.due(self.live, self.synced, now):
            self._effects.append(Send(peer, messages.Digest(sync.root(self._common(peer)))))
            self._offer_strays(peer)

    def receive(self, sender: NodeId, message: messages.Message, now: float) -> None:
        self._now = now
        match message:
            case messages.Envelopes(items, more):
                self._take(sender, items, now)
                if more:
                    self._effects.append(Send(sender, messages.Digest(b"")))
            case messages.Stored(items):
                self._stored(sender, items)
                self.lag.stored(
                    sender, ((slot, seq) for slot, author, seq in items if author == self.writer), now
                )
            case messages.Digest(root):
                self._compare_root(sender, root)
            case messages.SlotDigests(slots):
                self._compare_slots(sender, slots)
            case messages.Heads(slots, answer):
                self._compare_heads(sender, slots, answer=answer)
            case _:
                raise AssertionError(message)

    def members(
        self,
        placement: Placement,
        live: frozenset[NodeId],
        now: float,
        far: frozenset[NodeId] = frozenset(),
    ) -> None:
        """The map or who is alive changed. Digests go out at once; writes that waited for the dead settle."""
        self.synced &= live
        self.lag.members(live)
        self.comparing.members(live, far, now)
        self.placement, self.live = placement, live
        for ticket_id, ticket in list(self._tickets.items()):
            self._settle(ticket_id, ticket)

    # ---- receiving

    def _take(self, sender: NodeId, items: list[bytes], now: float) -> None:
        names: list[tuple[int, str, int]] = []
        for data in items:
            try:
                item = envelopes.decode(data)
                if not valid(item.slot):
                    raise BadEnvelope(f"there is no slot {item.slot}")
                if item.author == self.writer:
                    self.outlived |= item.seq > self.ledger(item.slot).heads.get(item.author, 0)
                    continue
                changes = self.ledger(item.slot).apply(item)
                self.comparing.answered(sender, item.slot)
            except Gap:
                self._ask(sender, item.slot, now)
                continue
            except BadEnvelope:
                self.rejected += 1
                continue
            name = (item.slot, str(item.author), item.seq)
            if self.placement.copy(item.slot) != self.me:  # nobody waits for the copy of another region
                names.append(name)
            if changes is not None:
                self._pending.append((*name, data))
                self._on_change(item.slot, changes, item.author)
        if names:
            self._waiting.append((0, sender, names))

    def _ask(self, sender: NodeId, slot: int, now: float) -> None:
        """Say what we have of a slot in which something is missing; not more often than five times a
        second.
        """
        if self._asked.get((sender, slot), -1.0) + 0.2 > now:
            return
        self._asked[sender, slot] = now
        heads = dict(self.ledger(slot).heads)
        self._effects.append(Send(sender, messages.Heads({slot: _plain(heads)}, answer=False)))

    def _stored(self, sender: NodeId, items: list[tuple[int, str, int]]) -> None:
        for slot, author, seq in items:
            if author != self.writer:
                continue
            ticket_id = self._by_envelope.get((slot, seq))
            ticket = self._tickets.get(ticket_id) if ticket_id is not None else None
            if ticket_id is None or ticket is None:
                continue
            left = ticket.peers.get(sender)
            if left is None:
                continue
            left.discard((slot, seq))
            if not left:
                self._settle(ticket_id, ticket)

    # ---- anti-entropy

    def _common(self, peer: NodeId) -> dict[int, bytes]:
        """Digests of the slots that both we and the peer keep."""
        return sync.digests(self.ledgers, self._overlap.of(peer, self.placement, self.ledgers).both)

    def _offer_strays(self, peer: NodeId) -> None:
        """Offer what we hold without being its keeper to its replicas."""
        found = sync.digests(self.ledgers, self._overlap.of(peer, self.placement, self.ledgers).strays)
        if found:
            self._effects.append(Send(peer, messages.SlotDigests(found)))

    def _compare_root(self, sender: NodeId, root: bytes) -> None:
        mine = self._common(sender)
        if sync.root(mine) == root:
            self.synced.add(sender)
            return
        self._effects.append(Send(sender, messages.SlotDigests(mine)))

    def _compare_slots(self, sender: NodeId, slots: Mapping[int, bytes]) -> None:
        holders = self.placement.holders
        differing = {
            slot: _plain(self.ledger(slot).heads)
            for slot, digest in slots.items()
            if self.placement.valid(slot)
            and (slot not in self.ledgers or self.ledgers[slot].hash != digest)
            and self.comparing.asks(sender, slot, self._now)
        }
        for slot, ledger in self.ledgers.items():
            if slot not in slots and ledger.heads and self.me in (h := holders(slot)) and sender in h:
                differing[slot] = _plain(ledger.heads)
        if differing:
            self._effects.append(Send(sender, messages.Heads(differing)))

    def _compare_heads(self, sender: NodeId, slots: Mapping[int, Mapping[str, int]], *, answer: bool) -> None:
        ranges: list[tuple[int, str, int, int]] = []
        wanted: dict[int, dict[str, int]] = {}
        behind = False
        for slot, theirs in slots.items():
            if not self.placement.valid(slot):
                continue
            known = {Writer(author): seq for author, seq in theirs.items()}
            ledger = self.ledger(slot)
            mine = ledger.heads
            self.outlived |= known.get(self.writer, 0) > mine.get(self.writer, 0)
            lacking = sync.missing(mine, known)
            if any(first <= ledger.floors.get(author, 0) for author, first, _ in lacking):
                self._offer_base(sender, slot)
            else:
                ranges.extend((slot, str(a), first, last) for a, first, last in lacking)
            if answer and sync.lacks(mine, known):
                behind = True
                if self.comparing.asks(sender, slot, self._now):
                    wanted[slot] = _plain(mine)
        if answer and not behind:  # of a far peer: it goes on writing, we are never quite equal
            self.synced |= {sender} & self.comparing.far
        if ranges:
            self._effects.append(Resend(sender, ranges))
        if wanted:
            self._effects.append(Send(sender, messages.Heads(wanted, answer=False)))

    def _offer_base(self, to: NodeId, slot: int) -> None:
        interval = self.comparing.base_interval(to)
        if self._offered.get((to, slot), -interval) + interval <= self._now:
            self._offered[to, slot] = self._now
            self._effects.append(SendBase(to, slot))


def _plain(heads: Mapping[Writer, int]) -> dict[str, int]:
    return {str(author): seq for author, seq in heads.items()}


def _chunks(items: list[bytes]) -> Iterable[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for item in items:
        if chunk and size + len(item) > MESSAGE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item)
    if chunk:
        yield chunk
