"""Who holds a copy of what this node holds: what a drain, a handover and the warning of missing replicas go by.

A node asks (`Hold`) with the heads of a slot; the other answers (`Held`) when it has all of that on its disk. A node
that is no replica of a slot any more asks all of its replicas, for each slot until its present heads are covered: only
then may it stop. The first live replica of a slot asks those who became replicas, or came back, once: until they have
answered the slot has fewer copies than it should.

Invariant (I19): a copy counts only when its holder has said that it is durable; nothing is ever deleted here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gossip.identity import NodeId
from node import messages
from node.effects import Effect, Send
from node.replication import Replicator
from node.stewardship.ownership import Ownership
from sharding.placement import Placement
from state.envelope import Writer

ASK_INTERVAL = 0.5
"""Seconds between two questions to one node; shorter shows a drain's progress finer."""
MAX_PAUSE = 30.0
"""Seconds between two questions to one that does not answer: it is of an earlier version, perhaps."""
MAX_ASKED = 512
"""Slots of one question: about 64 KiB."""

Heads = Mapping[Writer, int]


class Short(NamedTuple):
    """Slots with data of which this node is the first live replica and that have fewer copies than they should:
    `slots` in all; `dead`: by the dead replica that is missed; `copying`: by the replica that has not all yet.
    """

    slots: int
    dead: dict[NodeId, int]
    copying: dict[NodeId, int]


class Custody:
    """`stewarded(slot)`: whether this node stewards it now."""

    def __init__(
        self, replicator: Replicator, ownership: Ownership, stewarded: Callable[[int], bool]
    ) -> None:
        self.draining = False
        self._replicator, self._ownership, self._stewarded = replicator, ownership, stewarded
        self._me = replicator.me
        self._held: dict[int, dict[NodeId, Heads]] = {}
        self._fresh: dict[int, set[NodeId]] = {}
        self._asked: dict[NodeId, tuple[int, dict[int, Heads]]] = {}
        self._silent: dict[NodeId, int] = {}
        self._next_to: dict[NodeId, float] = {}
        self._answers: list[tuple[int, NodeId, messages.Held]] = []
        self._effects: list[Effect] = []
        self._number = 0
        self._next_ask = 0.0
        self._placement = Placement((), slots=1)
        self._live: frozenset[NodeId] = frozenset()

    # ---- what is known

    def holds(self, slot: int, node: NodeId) -> bool:
        """Whether the replica once had all that this former one held."""
        return node in self._held.get(slot, {})

    def unsafe(self) -> list[int]:
        """Slots that this node holds without being a replica, and that do not have all their copies elsewhere."""
        return [slot for slot in self._strays() if not self._safe(slot)]

    def short(self) -> Short:
        """What is missing where this node is the first live replica."""
        wanted = self.wanted()
        slots, dead, copying = 0, dict[NodeId, int](), dict[NodeId, int]()
        for slot, ledger in self._replicator.ledgers.items():
            owners = self._placement.owners(slot)
            live = [node for node in owners if node in self._live]
            if not ledger.heads or live[:1] != [self._me]:
                continue
            lagging = self._fresh.get(slot, set()).intersection(live)
            if len(live) - len(lagging) >= wanted:
                continue
            slots += 1
            _count(dead, (node for node in owners if node not in self._live))
            _count(copying, lagging)
        return Short(slots, dead, copying)

    def wanted(self) -> int:
        """Copies that a slot should have: R, or as many as there are nodes to keep one."""
        able = sum(candidate.id in self._live for candidate in self._placement.candidates)
        return min(self._placement.replicas, able)

    def fetched(self, slot: int) -> bool:
        """Whether this node still wants to know of the slot what others know: one that leaves it does not."""
        return not self.draining or self._me in self._placement.owners(slot) or self._stewarded(slot)

    # ---- events

    def placed(self, placement: Placement, live: frozenset[NodeId]) -> None:
        """Who became a replica, or came back, has to say that it has caught up."""
        before, were, self._placement, self._live = self._placement, self._live, placement, live
        for slot, ledger in self._replicator.ledgers.items():
            owners = placement.owners(slot)
            if not ledger.heads:
                continue
            if self._me not in owners:
                self._fresh.pop(slot, None)
                continue
            self._held.pop(slot, None)
            old = before.owners(slot) if slot < before.slots else ()
            came = {n for n in owners if n != self._me and n in live and not (n in old and n in were)}
            if came:
                self._fresh.setdefault(slot, set()).update(came)

    def tick(self, now: float) -> None:
        if now < self._next_ask:
            return
        self._next_ask = now + ASK_INTERVAL
        questions: dict[NodeId, list[int]] = {}
        for slot, node in self._open():
            questions.setdefault(node, []).append(slot)
        for node, slots in questions.items():
            if now >= self._next_to.get(node, 0.0):
                self._ask(node, slots, now)

    def _ask(self, node: NodeId, slots: list[int], now: float) -> None:
        """Other slots each time, where they are too many for one question; less often where nobody answers."""
        self._number += 1
        first = self._number * MAX_ASKED % len(slots) if len(slots) > MAX_ASKED else 0
        chosen = (slots[first:] + slots[:first])[:MAX_ASKED]
        heads: dict[int, Heads] = {slot: dict(self._replicator.ledgers[slot].heads) for slot in chosen}
        self._asked[node] = (self._number, heads)
        self._silent[node] = self._silent.get(node, -1) + 1
        self._next_to[node] = now + min(MAX_PAUSE, ASK_INTERVAL * 2 ** min(self._silent[node], 16))
        plain = {slot: {str(author): seq for author, seq in one.items()} for slot, one in heads.items()}
        self._effects.append(Send(node, messages.Hold(self._number, plain)))

    def _open(self) -> Iterable[tuple[int, NodeId]]:
        """(slot, node) that are to be asked."""
        for slot in self._strays():
            if self.draining or self._stewarded(slot):
                yield from ((slot, node) for node in self._replicas(slot) if not self._covers(slot, node))
        for slot, nodes in sorted(self._fresh.items()):
            live = [node for node in self._placement.owners(slot) if node in self._live]
            if live[:1] == [self._me]:
                yield from ((slot, node) for node in sorted(nodes) if node in live)

    def asked(self, sender: NodeId, question: messages.Hold) -> None:
        """Answered when all that is applied here by now is durable."""
        slots = [slot for slot, heads in question.slots.items() if self._has(slot, heads)]
        answer = messages.Held(question.number, slots)
        self._answers.append((self._replicator.barrier(), sender, answer))

    def appended(self, batch: int) -> None:
        ready = [item for item in self._answers if item[0] <= batch]
        self._answers = [item for item in self._answers if item[0] > batch]
        self._effects.extend(Send(sender, answer) for _, sender, answer in ready)

    def answered(self, sender: NodeId, answer: messages.Held) -> None:
        number, slots = self._asked.get(sender, (0, {}))
        if answer.number != number:
            return
        self._silent.pop(sender, None)
        self._next_to.pop(sender, None)
        for slot in answer.slots:
            if slot not in slots:
                continue
            if self._me not in self._placement.owners(slot):
                self._held.setdefault(slot, {})[sender] = slots[slot]
            elif (fresh := self._fresh.get(slot)) is not None:
                fresh.discard(sender)
                if not fresh:
                    del self._fresh[slot]

    def flush(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    # ---- inside

    def _strays(self) -> list[int]:
        owners = self._placement.owners
        return [
            slot
            for slot, led in self._replicator.ledgers.items()
            if led.heads and self._me not in owners(slot)
        ]

    def _replicas(self, slot: int) -> list[NodeId]:
        return [node for node in self._placement.owners(slot) if node in self._live]

    def _safe(self, slot: int) -> bool:
        """As many replicas as there should be have all that is here."""
        return sum(self._covers(slot, node) for node in self._replicas(slot)) >= max(1, self.wanted())

    def _covers(self, slot: int, node: NodeId) -> bool:
        held = self._held.get(slot, {}).get(node)
        return held is not None and all(
            held.get(author, 0) >= seq for author, seq in self._replicator.ledgers[slot].heads.items()
        )

    def _has(self, slot: int, heads: Mapping[str, int]) -> bool:
        ledger = self._replicator.ledgers.get(slot)
        mine = ledger.heads if ledger is not None else {}
        return all(mine.get(Writer(author), 0) >= seq for author, seq in heads.items())


def _count(found: dict[NodeId, int], nodes: Iterable[NodeId]) -> None:
    for node in nodes:
        found[node] = found.get(node, 0) + 1
