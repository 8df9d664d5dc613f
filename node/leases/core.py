"""A node's part in all leases: voter, proposer, keeper of its own slots. Events in, effects out."""

import random
from collections.abc import Callable, Mapping

import msgspec

from gossip.identity import Boot, NodeId
from gossip.member import Member, State
from node import messages
from node.effects import Effect, Keep, Send
from node.execution.jobs import JobKey
from node.leases.acceptor import Acceptor
from node.leases.keeper import Keeper
from node.leases.maps import LeaseMap, Maps
from node.leases.proposer import ROUND_TIMEOUT, Result, Round
from node.leases.wire import Ask, Kept, LeaseToken, Promise, Told, margin
from sharding.key import parse
from sharding.placement import Candidate

EXCHANGE_INTERVAL = 0.5
"""Seconds between two questions to those who have not said that they have the newest map."""
FORGET_INTERVAL, FORGET_AFTER = 600.0, 3600.0
"""Seconds between two looks for locks to forget, and for which nobody can have held them."""
FORGETS = 4
"""The protocol that has `acceptor.FLOOR`."""
MAX_TRIES = 8
"""Larger epochs that one request tries."""


class LeaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl`: seconds that a slot's lease lasts; shorter moves work sooner after a death, and needs faster disks and
    networks. `stable_after`: seconds that the members must be unchanged before a new map is taken."""

    ttl: float = 15.0
    stable_after: float = 10.0

    @classmethod
    def local(cls) -> "LeaseConfig":
        return cls(ttl=5.0, stable_after=1.0)


_encoder = msgspec.msgpack.Encoder()
_decoder: "msgspec.msgpack.Decoder[Kept]" = msgspec.msgpack.Decoder(Kept)


class Leases:
    """`founded`: this node begins a mesh of its own, so there is nobody to be heard before it votes."""

    def __init__(
        self, me: NodeId, boot: Boot, config: LeaseConfig, *, replicas: int, slots: int, rng: random.Random
    ) -> None:
        self.me, self.boot, self.config = me, boot, config
        self.maps = Maps(me, replicas=replicas, slots=slots)
        self.acceptor = Acceptor()
        self.keeper = Keeper(me, boot, config.ttl, rng, self._keeper_round)
        self.founded = False
        self.forgets: Callable[[], bool] = lambda: True
        """Whether all voters understand what stands for locks that were forgotten."""
        self.live: frozenset[NodeId] = frozenset()
        self._rng = rng
        self._now = 0.0
        self._present: dict[NodeId, Candidate] = {}
        self._rounds: dict[int, Round] = {}
        self._used: dict[str, int] = {}
        self._tries: dict[int, int] = {}
        self._vain: dict[int, tuple[str, LeaseToken, float, set[NodeId]]] = {}
        """Takes that came to nothing: name, token, until when a voter may be bound by it, who was told."""
        # An answer to an earlier life of this node is to none of our questions.
        self._serial = self.maps.number = int(boot) << 32
        self._votes_from = self._settled_at = 0.0
        self._next_exchange = self._next_forget = 0.0
        self._dirty = False
        self._batch = self._kept = 0
        self._outbox: list[Send] = []
        self._asks: dict[NodeId, list[Ask]] = {}
        self._answers: list[Send] = []
        self._held_back: list[tuple[int, Send]] = []

    # ---- the durable part

    def load(self, data: bytes) -> None:
        """One item of the file, in order. Raises msgspec.DecodeError."""
        item = _decoder.decode(data)
        if isinstance(item, Promise):
            self.acceptor.load(item)
        else:
            self.maps.load(item)

    def snapshot(self) -> list[bytes]:
        """All that is to be durable, as few items."""
        return [_encoder.encode(item) for item in (self.maps.known(), *self.acceptor.promises.values())]

    def kept(self, batch: int) -> None:
        self._kept = max(self._kept, batch)

    # ---- events

    @property
    def now(self) -> float:
        """The time of the last event."""
        return self._now

    def start(self, now: float) -> None:
        self._now = now
        self.acceptor.start(now)

    def members(self, members: Mapping[NodeId, Member], now: float) -> None:
        """The members as gossip sees them; also those that are dead or have left count until they are forgotten."""
        self._now = now
        self.live = frozenset(n for n, m in members.items() if m.state in (State.ALIVE, State.SUSPECT))
        self._present = {
            node: Candidate(node, member.meta.weight, member.meta.zone, member.meta.region)
            for node, member in members.items()
        }
        self.forget(frozenset(n for n, m in members.items() if m.state is State.LEFT and not m.meta.weight))
        self._consider()

    def forget(self, nodes: frozenset[NodeId]) -> None:
        """These are gone for ever: an operator says so, or they were drained and have left. They vote no more, until
        they are alive again."""
        nodes -= self.live
        if not nodes <= self.maps.forgotten:
            self.maps.forget(nodes)
            self._dirty = True

    @property
    def counted(self) -> bool:
        """Whether this node still votes: a newer map without it is not in force with every live member yet."""
        maps = self.maps
        if not (maps.settled and maps.active):
            return False
        if self.me in maps.active[-1].members or self._now < self._settled_at + 2 * EXCHANGE_INTERVAL:
            return True  # the others may still ask for what it has promised
        return len(maps.active) > 1 and not self.live.isdisjoint(maps.missing())

    def receive(self, sender: NodeId, message: messages.Message, now: float) -> None:
        self._now = now
        match message:
            case messages.LeaseAsk(version, items):
                self._vote(sender, version, items)
            case messages.LeaseTold(items, maps):
                self._hear(sender, items, [self.maps.made(plain) for plain in maps])
            case messages.LeaseMaps():
                self._exchange(sender, message)

    def asked(self, sender: NodeId, asked: messages.PauseAsk, strays: list[JobKey], now: float) -> None:
        """An executor asks for how long it may go on; `strays`: of its jobs those that another may run."""
        self._now = now
        at = {key: task.slot for key in asked.jobs if (task := parse(key.task)) is not None}
        only_strays = {at[key] for key in strays if key in at} - {
            slot for key, slot in at.items() if key not in strays
        }
        granted = self.keeper.grant(sender, [slot for slot in asked.slots if slot not in only_strays], now)
        self._outbox.append(Send(sender, messages.PauseTold(asked.stamp, granted, strays)))

    def tick(self, now: float) -> None:
        self._now = now
        self._consider()
        self.keeper.tick(now)
        for number, found in list(self._rounds.items()):
            if now >= found.deadline:
                self._conclude(number, found)
        if self._vain:
            self._vain = {number: vain for number, vain in self._vain.items() if now < vain[2]}
        if now >= self._next_forget:
            self._next_forget = now + FORGET_INTERVAL
            if self.forgets():
                self.acceptor.forget(now, FORGET_AFTER)
        if self.maps.open and now >= self._next_exchange:
            self._next_exchange = now + EXCHANGE_INTERVAL
            self._ask_for_maps()

    def propose(
        self,
        kind: str,
        name: str,
        slot: int,
        token: LeaseToken,
        done: Callable[[Result], None],
        *,
        ttl: float = 0.0,
        note: str = "",
        now: float | None = None,
    ) -> None:
        """`kind`: take (the epoch of the token is chosen), renew, release, read; `done` hears the result once."""
        self._now = self._now if now is None else now
        if not self.maps.settled:
            done(Result(won=False, token=token, ready=False))
            return
        self._serial += 1
        found = Round(self._serial, kind, name, slot, token, ttl=ttl, note=note, now=self._now, done=done)
        if kind == "take":
            found.token = (self._fresh_epoch(name), *token[1:])
        found.learn(self.maps.active)
        self._rounds[found.number] = found
        self._send(found)

    def _fresh_epoch(self, name: str, above: int = 0) -> int:
        """One that this life has not used: what still travels under an old token must not meet a new one."""
        epoch = max(self.acceptor.epoch(name), self._used.get(name, 0), above) + 1
        self._used[name] = epoch
        return epoch

    # ---- as a voter

    def _vote(self, sender: NodeId, version: bytes, items: list[Ask]) -> None:
        if self.maps.settled and self._now >= self._votes_from:
            told = [self.acceptor.handle(sender, ask, self._now) for ask in items]
        else:
            told = [Told(ask.round, ok=False, votes=False) for ask in items]
        known = [] if version == self.maps.version else [found.plain() for found in self.maps.active]
        self._answers.append(Send(sender, messages.LeaseTold(told, known)))

    # ---- as a proposer

    def _send(self, found: Round) -> None:
        for node, ask in found.asks():
            self._asks.setdefault(node, []).append(ask)

    def _hear(self, sender: NodeId, items: list[Told], maps: list[LeaseMap]) -> None:
        for told in items:
            found = self._rounds.get(told.round)
            if found is not None and self._now >= found.deadline:
                self._conclude(told.round, found)
                found = None
            if found is None:
                self._late(sender, told)
                continue
            found.learn(maps)
            found.hear(sender, told)
            self._send(found)
            self._conclude(told.round, found)

    def _conclude(self, number: int, found: Round) -> None:
        seen = found.outbid
        if seen is not None and self._tries.get(number, 0) < MAX_TRIES and self._now < found.deadline:
            self._once_more(number, found, seen)
            return
        result = found.result(self._now)
        if result is None:
            return
        del self._rounds[number]
        self._tries.pop(number, None)
        if found.kind == "take" and not result.won:
            self._give_back(found)
        found.done(result)

    def _once_more(self, number: int, found: Round, seen: int) -> None:
        self._give_back(found)
        del self._rounds[number]
        self._serial += 1
        self._tries[self._serial] = self._tries.pop(number, 0) + 1
        found.again(self._serial, self._fresh_epoch(found.name, seen), self._now)
        self._rounds[found.number] = found
        self._send(found)

    def _give_back(self, found: Round) -> None:
        """What a few voters granted in vain is free again, also where the word of that is still on its way."""
        granted = found.granted()
        self._vain[found.number] = (found.name, found.token, self._now + found.ttl, set(granted))
        for node in granted:
            self._asks.setdefault(node, []).append(Ask(found.number, "undo", found.name, found.token))

    def _late(self, sender: NodeId, told: Told) -> None:
        """A grant is told when it is durable, refusals before: without this, voters whose grants end at different
        times would each stay bound to another try."""
        if told.ok and told.round in self._vain:
            name, token, _, undone = self._vain[told.round]
            if sender in undone:  # the answer to the undo
                return
            undone.add(sender)
            self._asks.setdefault(sender, []).append(Ask(told.round, "undo", name, token))

    def _keeper_round(self, kind: str, slot: int, token: LeaseToken, done: Callable[[Result], None]) -> None:
        self.propose(kind, f"slot/{slot:03x}", slot, token, done, ttl=self.config.ttl, note=f"node {self.me}")

    # ---- maps

    def _consider(self) -> None:
        if self.founded and self.maps.found():
            self._dirty = True
        if self.maps.want(self._present, self.live, self._now, self.config.stable_after):
            self._dirty = True
        self._settle()

    def _settle(self) -> None:
        knew, bereft = self.maps.settled, self.maps.open and not self.maps.missing() and self.maps.bereft
        if self.maps.settle(self._now, self.config.stable_after):
            self._dirty = True
            self._settled_at = self._now
            if not knew:
                # An earlier life may have promised something that is still on its way to its proposer.
                self._votes_from = self._now + 2 * ROUND_TIMEOUT
            if bereft:
                self._votes_from = self._now + self.config.ttl + margin(self.config.ttl)

    def _ask_for_maps(self) -> None:
        self.maps.number += 1
        for node in self.maps.missing():
            self._answers.append(Send(node, self._said(self.maps.number, asks=True)))

    def _said(self, number: int, *, asks: bool, promises: bool = False) -> messages.LeaseMaps:
        known = self.maps.known()
        found = list(self.acceptor.promises.values()) if promises else []
        return messages.LeaseMaps(number, asks, known.maps, known.settled, known.forgotten, found)

    def _exchange(self, sender: NodeId, said: messages.LeaseMaps) -> None:
        maps = [self.maps.made(plain) for plain in said.maps]
        before = len(self.maps.forgotten)
        self.maps.hear(maps, {NodeId(node) for node in said.forgotten} - self.live)
        self._dirty |= len(self.maps.forgotten) != before
        if said.asks:
            same = bool(maps and self.maps.active) and maps[-1].version == self.maps.active[-1].version
            self._answers.append(Send(sender, self._said(said.number, asks=False, promises=same)))
            return
        self.acceptor.merge(said.promises, self._now)
        self.maps.answered(sender, maps, said.number, settled=said.settled)
        self._settle()

    # ---- effects

    def flush(self) -> list[Effect]:
        """Answers wait until all that was promised before them is durable."""
        if not (
            self._dirty
            or self.acceptor.changed
            or self._answers
            or self._held_back
            or self._outbox
            or self._asks
        ):
            return []
        out: list[Effect] = []
        if self._dirty or self.acceptor.changed:
            items: list[Kept] = [*self.acceptor.changed.values()]
            if self._dirty:
                items.append(self.maps.known())
            self._dirty = False
            self.acceptor.changed = {}
            self._batch += 1
            out.append(Keep(self._batch, [_encoder.encode(item) for item in items]))
        self._held_back.extend((self._batch, answer) for answer in self._answers)
        self._answers = []
        free = [send for batch, send in self._held_back if batch <= self._kept]
        self._held_back = [held for held in self._held_back if held[0] > self._kept]
        out += free
        out += self._outbox
        self._outbox = []
        asks, self._asks = self._asks, {}
        out += [Send(node, messages.LeaseAsk(self.maps.version, items)) for node, items in asks.items()]
        return out
