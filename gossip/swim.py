"""Who is a member now: the machine that takes events and returns effects, put together from its parts."""

import random
from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from gossip import sync
from gossip.claims import Claims
from gossip.codec import Packet, unpack
from gossip.config import SwimConfig
from gossip.contacts import Contacts
from gossip.core import Core
from gossip.effects import (
    Contact,
    Effect,
    Event,
    Forget,
    Lagged,
    Leave,
    Left,
    Readmit,
    Received,
    Retire,
    SetAddress,
    SetMeta,
    Tick,
)
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.lives import Lives
from gossip.member import LIVE, MAX_BOOT, Member, Meta, State, encode_meta, first_incarnation
from gossip.messages import (
    Ack,
    Alive,
    Dead,
    Departed,
    Message,
    Nack,
    Ping,
    PingRequest,
    Record,
    Suspect,
    Sync,
)
from gossip.own import Own
from gossip.probe import Prober
from gossip.timers import Timer

LATE = 0.05
LATE_SHARE = 0.1
"""A judgement later than the larger of 50 ms and a tenth of its time is put off once: the answer may have
come while this process stood still (measured: 25 of 30 false time-outs without, none with)."""

JUDGEMENTS = frozenset({"indirect", "verdict", "suspicion"})


class Swim:
    """One node's view of the mesh. The same seed and events give the same effects.

    members: everybody known, this node included; the dead and those that left stay for 24 h with their state.
    rejected: packets and messages dropped because no correct node sends them.
    After the effect Left the machine does nothing any more.
    """

    def __init__(
        self,
        *,
        me: NodeId,
        boot: Boot,
        address: str,
        meta: Meta,
        config: SwimConfig,
        rng: random.Random,
        contacts: Iterable[tuple[NodeId, str]] = (),
    ) -> None:
        """contacts: whom an earlier life knew, and seeds.
        Raises MetaTooLarge; ValueError for a boot out of range.
        """
        if not 0 <= boot <= MAX_BOOT:
            raise ValueError(f"boot is {boot}; it must be from 0 to {MAX_BOOT}")
        own = Member(me, boot, first_incarnation(boot), State.ALIVE, address, meta, 0.0)
        self._core = Core(own, encode_meta(meta), config, rng)
        self._lives = Lives(self._core)
        self._own = Own(self._core, self._lives)
        self._contacts = Contacts(self._core)
        self._claims = Claims(self._core, self._contacts, self._lives)
        self._prober = Prober(self._core, self._claims)
        self._first_contacts = list(contacts)
        self._started = False
        self._left = False
        self.members: Mapping[NodeId, Member] = self._core.table.members
        self.rejected = 0

    @property
    def health(self) -> int:
        """Local health: 0 is well, 7 the worst."""
        return self._core.health.score

    def due(self) -> float | None:
        """When the next Tick is needed; 0.0 before the first event, which starts the machine."""
        return self._core.timers.due() if self._started else 0.0

    def contacts(self) -> list[tuple[NodeId, str]]:
        """To persist: everybody met within 24 h, dead ones included, and those still sought; sorted by id."""
        return self._contacts.all() if self._started else sorted(self._first_contacts)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """now: local seconds, never going back. Raises MetaTooLarge for SetMeta, else nothing."""
        core = self._core
        core.effects = []
        if self._left:
            return core.effects
        if not self._started:
            self._start(now)
        match event:
            case Received(sender, payload):
                self._received(sender, payload, now)
            case Tick():
                self._tick(now)
            case Lagged(seconds):
                core.health.lagged(seconds, now)
            case _:
                self._told(event, now)
        if self._own.leaving and core.me not in core.broadcasts:
            self._finish()
        return core.effects

    def _told(
        self, event: Contact | SetMeta | SetAddress | Leave | Forget | Retire | Readmit, now: float
    ) -> None:
        match event:
            case Contact(contact, address):
                self._contacts.add([(contact, address)], now)
            case SetMeta(meta):
                self._own.set_meta(meta, now)
            case SetAddress(address):
                self._own.set_address(address, now)
            case Leave():
                self._leave(now)
            case Forget(member):
                self._forget(member, now)
            case Retire(member):
                self._retire(member, now)
            case Readmit(member):
                self._core.forgotten.discard(member)
            case _:
                assert_never(event)

    def _start(self, now: float) -> None:
        core, config = self._core, self._core.config
        self._started = True
        core.table.put(msgspec.structs.replace(core.own, since=now))
        for kind, interval in (
            ("probe", config.probe_interval),
            ("sync", config.sync_interval),
            ("reconnect", self._contacts.pause()),
        ):
            core.timers.set((kind, ""), now + core.rng.random() * interval)
        self._contacts.add(self._first_contacts, now)

    def _received(self, sender: NodeId, payload: bytes, now: float) -> None:
        core = self._core
        if sender in core.forgotten:
            return
        try:
            packet = unpack(payload)
        except Malformed:
            self.rejected += 1
            return
        if sender == core.me:
            core.conflict(core.me, (core.own.address, packet.address), packet.boot, now)
            return
        self._lived(sender, packet, now)
        known = core.table.members.get(sender)
        if known is not None and known.incarnation == packet.incarnation:
            self._claims.located(known, packet.address, now)
        stale = known is not None and packet.boot < known.boot
        accused = False
        for message in packet.messages:
            try:
                if stale:
                    message = _without_claims(message)  # noqa: PLW2901  a replay, or a life that has ended
                accused |= self._heard(sender, packet.address, message, now)
            except Malformed:
                self.rejected += 1
        if accused:
            core.send(sender, packet.address, self._own.encoded())

    def _lived(self, sender: NodeId, packet: Packet, now: float) -> None:
        """Which life it speaks in, before what it says."""
        if (denied := self._lives.denied(sender, packet, now)) is not None:
            self._claims.correct(denied)
        if (rumour := self._lives.confirmed(sender, packet)) is not None:
            self._claims.alive(rumour, sender, now)

    def _heard(self, sender: NodeId, address: str, message: Message, now: float) -> bool:
        """Whether the sender believes ill of us and should hear our present Alive at once."""
        match message:
            case Ping():
                self._prober.pinged(sender, address, message)
            case Ack():
                self._prober.acked(sender, message, now)
            case Nack():
                self._prober.nacked(sender, message)
            case PingRequest():
                self._prober.requested(sender, address, message, now)
            case Sync(answer, records):
                accused = self._synced(sender, records, now)
                if not answer:
                    return accused
                sync.push(self._core, sender, address, answer=False, now=now)
            case Alive() | Suspect() | Dead() | Departed():
                return self._claimed(message, sender, now)
            case _:
                assert_never(message)
        return False

    def _claimed(self, claim: Alive | Suspect | Dead | Departed, sender: NodeId, now: float) -> bool:
        if claim.id in self._core.forgotten:
            return False
        mine = claim.id == self._core.me
        match claim:
            case Alive():
                (self._own.described if mine else self._claims.alive)(claim, sender, now)
            case Suspect() | Dead() | Departed() if mine:
                return self._own.accused(claim.boot, claim.incarnation, sender, now)
            case Suspect():
                self._claims.suspect(claim, sender, now)
            case Dead():
                self._claims.buried(claim, sender, now)
            case Departed():
                self._claims.departed(claim, sender, now)
            case _:
                assert_never(claim)
        return False

    def _synced(self, sender: NodeId, records: list[Record], now: float) -> bool:
        accused = False
        for record in records:
            try:
                if record.id == self._core.me:
                    accused = self._mirrored(record, sender, now)
                elif record.id not in self._core.forgotten:
                    self._claims.record(record, sender, now)
            except Malformed:
                self.rejected += 1
        return accused

    def _mirrored(self, record: Record, sender: NodeId, now: float) -> bool:
        """What the other believes of us; whether that is ill."""
        ill = record.state is not State.ALIVE
        accused = ill and self._own.accused(record.boot, record.incarnation, sender, now)
        claim = Alive(record.id, record.boot, record.incarnation, record.address, record.meta)
        self._own.described(claim, sender, now)
        return accused

    def _tick(self, now: float) -> None:
        timers = self._core.timers
        while (timer := timers.pop(now)) is not None:
            late = now - timer.due
            if timer.key[0] in JUDGEMENTS and late > max(LATE, LATE_SHARE * timer.span) and not timer.again:
                self._put_off(timer, late, now)
            else:
                self._due(timer, now)

    def _put_off(self, timer: Timer, late: float, now: float) -> None:
        """We were late, so others may have been in time; they get once more what they would have had."""
        core, config = self._core, self._core.config
        core.health.lagged(late, now)
        pause = config.probe_timeout if timer.key[0] == "indirect" else config.probe_interval
        core.timers.set(timer.key, now + pause, span=pause, again=True)

    def _due(self, timer: Timer, now: float) -> None:
        match timer.key:
            case ("probe", _):
                self._prober.start(now)
            case ("indirect", _):
                self._prober.escalate(now)
            case ("repeat", _):
                self._prober.repeat(now)
            case ("verdict", _):
                self._prober.judge(now)
            case ("relay", int(sequence)):
                self._prober.relay_due(sequence, now)
            case ("gossip", _):
                self._gossip(now)
            case (kind, str(member)):
                self._slow(kind, NodeId(member), now)

    def _slow(self, kind: str, member: NodeId, now: float) -> None:
        match kind:
            case "sync":
                self._sync(now)
            case "reconnect":
                self._reconnect(now)
            case "heal":
                self._heal(now)
            case "suspicion":
                self._claims.expired(member, now)
            case "seek":
                self._seek(member, now)
            case "reap":
                self._claims.reap(member)
            case "outlived":
                self._lives.judge(now)
            case "leave":
                self._core.broadcasts.drop(self._core.me)

    def _gossip(self, now: float) -> None:
        """One round: a few members, among them those dead only for a while, hear the news."""
        core, config = self._core, self._core.config
        targets = core.table.sample(
            config.gossip_fanout,
            lambda one: (
                one.state in LIVE or (one.state is State.DEAD and now - one.since < config.gossip_to_dead)
            ),
        )
        if not targets:
            core.broadcasts.clear()
        for target in targets:
            if core.broadcasts:
                core.send(target.id, target.address)
        if core.broadcasts:
            core.timers.set(("gossip", ""), now + config.gossip_interval)

    def _sync(self, now: float) -> None:
        core, config = self._core, self._core.config
        core.timers.set(("sync", ""), now + config.sync_pause(core.table.live))
        for other in core.table.sample(1, lambda one: one.state is State.ALIVE):
            sync.push(core, other.id, other.address, answer=True, now=now)

    def _reconnect(self, now: float) -> None:
        core, pause = self._core, self._contacts.pause()
        core.timers.set(("reconnect", ""), now + pause * (0.75 + 0.5 * core.rng.random()))
        buried = self._contacts.buried()
        if buried is not None:
            sync.push(core, *buried, answer=True, now=now)

    def _heal(self, now: float) -> None:
        core, dead = self._core, self._contacts.accused()
        for one in dead:
            core.send(one.id, one.address, *self._prober.accusation(one))
        if dead and self._contacts.healing(now):
            core.timers.set(("heal", ""), now + core.config.probe_interval)

    def _seek(self, contact: NodeId, now: float) -> None:
        address = self._contacts.seek(contact, now)
        if address is not None:
            sync.push(self._core, contact, address, answer=True, now=now)

    def _leave(self, now: float) -> None:
        core = self._core
        if self._own.leaving:
            return
        core.timers.clear()
        self._prober.stop()
        core.broadcasts.clear()
        self._own.leave(now)
        core.timers.set(("leave", ""), now + core.config.leave_timeout)
        self._gossip(now)

    def _finish(self) -> None:
        self._left = True
        self._core.timers.clear()
        self._core.broadcasts.clear()
        self._core.effects.append(Left())

    def _forget(self, member: NodeId, now: float) -> None:
        if member == self._core.me or member in self._core.forgotten:
            return
        self._core.forgotten.add(member)
        self._contacts.drop(member)
        self._claims.forget(member, now)

    def _retire(self, member: NodeId, now: float) -> None:
        known = self._core.table.members.get(member)
        if known is not None and known.state is State.DEAD:
            self._claims.departed(Departed(known.id, known.boot, known.incarnation), known.id, now)


def _without_claims(message: Message) -> Message:
    """What a packet of an earlier life of its sender may still do: be answered, so that one that was restored
    from a backup learns of its later life. Raises Malformed for a claim.
    """
    match message:
        case Alive() | Suspect() | Dead() | Departed():
            raise Malformed("a claim from an earlier life of its sender")
        case Sync(answer, _):
            return Sync(answer, [])
        case _:
            return message
