"""Scripted members: packets as a real node would send them, and what a machine answered, decoded."""

import random
from collections.abc import Sequence

from gossip.codec import encode, head, pack, unpack
from gossip.config import SwimConfig
from gossip.effects import Changed, Effect, Received, Send, Tick
from gossip.identity import Boot, NodeId
from gossip.member import Meta, State, encode_meta, first_incarnation
from gossip.messages import Alive, Dead, Departed, Message, Record, Suspect, Sync
from gossip.swim import Swim

ME = NodeId("me")


def meta(name: str = "x", **facts: object) -> Meta:
    return Meta(name=name, **facts)  # type: ignore[arg-type]  # facts are Meta's own fields


def machine(*, config: SwimConfig | None = None, boot: int = 1, seed: int = 1, **more: object) -> Swim:
    """A started machine named `me` at me:1."""
    swim = Swim(
        me=ME,
        boot=Boot(boot),
        address="me:1",
        meta=meta("me"),
        config=config or SwimConfig.lan(),
        rng=random.Random(seed),
        **more,  # type: ignore[arg-type]  # contacts
    )
    swim.handle(Tick(), 0.0)
    return swim


def number(boot: int, step: int = 0) -> int:
    return first_incarnation(Boot(boot)) + step


class Peer:
    """One node as others see it; `step` is how often it raised its incarnation in this life."""

    def __init__(
        self, name: str, *, boot: int = 1, step: int = 0, address: str | None = None, **facts: object
    ) -> None:
        self.id = NodeId(name)
        self.boot = Boot(boot)
        self.step = step
        self.address = address or f"{name}:1"
        self.meta = meta(name, **facts)

    @property
    def incarnation(self) -> int:
        return number(self.boot, self.step)

    def alive(self) -> Alive:
        return Alive(self.id, self.boot, self.incarnation, self.address, encode_meta(self.meta))

    def suspect(self, accuser: str = "accuser") -> Suspect:
        return Suspect(self.id, self.boot, self.incarnation, NodeId(accuser))

    def dead(self) -> Dead:
        return Dead(self.id, self.boot, self.incarnation)

    def departed(self) -> Departed:
        return Departed(self.id, self.boot, self.incarnation)

    def record(self, state: State = State.ALIVE, age: int = 0) -> Record:
        return Record(self.id, self.boot, self.incarnation, state, self.address, encode_meta(self.meta), age)

    def packet(self, *messages: Message) -> bytes:
        return pack(head(self.boot, self.incarnation, self.address), [encode(one) for one in messages])

    def says(self, swim: Swim, *messages: Message, now: float = 1.0) -> list[Effect]:
        return swim.handle(Received(self.id, self.packet(*messages)), now)

    def syncs(self, swim: Swim, *records: Record, answer: bool = False, now: float = 1.0) -> list[Effect]:
        return self.says(swim, Sync(answer, list(records)), now=now)


def acquainted(swim: Swim, *names: str, now: float = 0.0) -> list[Peer]:
    """Peers that the machine holds for alive."""
    peers = [Peer(name) for name in names]
    for peer in peers:
        peer.says(swim, peer.alive(), now=now)
    return peers


def said(effects: Sequence[Effect], to: str | None = None) -> list[Message]:
    """All messages sent, or those to one node."""
    return [
        message
        for effect in effects
        if isinstance(effect, Send) and to in (None, effect.to)
        for message in unpack(effect.payload).messages
    ]


def changes(effects: Sequence[Effect]) -> list[tuple[str, State, State | None]]:
    return [
        (effect.member.id, effect.member.state, effect.before)
        for effect in effects
        if isinstance(effect, Changed)
    ]


def run(swim: Swim, start: float, end: float) -> list[tuple[float, Effect]]:
    """Ticks in time, with nobody answering."""
    found: list[tuple[float, Effect]] = []
    now = start
    while (due := swim.due()) is not None and due <= end:
        now = max(now, due)
        found += [(now, effect) for effect in swim.handle(Tick(), now)]
    return found
