"""What the parts of the machine share: state, timers, news, and the effects of the event at hand."""

import math
import random

from gossip.broadcast import Broadcasts
from gossip.codec import encode, head, pack
from gossip.config import SwimConfig
from gossip.effects import Changed, Conflict, Effect, Send
from gossip.health import Health
from gossip.identity import Boot, NodeId
from gossip.member import LIVE, Member, State
from gossip.messages import Dead, Message, Suspect
from gossip.table import Table
from gossip.timers import Timers

PACKET_BYTES = 1400
"""memberlist's UDP budget: one Ethernet frame."""


class Core:
    def __init__(self, me: Member, encoded_meta: bytes, config: SwimConfig, rng: random.Random) -> None:
        self.me = me.id
        self.config = config
        self.rng = rng
        self.table = Table(me, encoded_meta, rng)
        self.timers = Timers()
        self.broadcasts = Broadcasts()
        self.health = Health(limit=config.awareness_max, spacing=config.probe_timeout)
        self.forgotten: set[NodeId] = set()
        self.effects: list[Effect] = []
        self.beginning = head(me.boot, me.incarnation, me.address)
        self._phase = rng.random() * config.gossip_interval
        self._conflicts: dict[NodeId, float] = {}

    @property
    def own(self) -> Member:
        return self.table.members[self.me]

    def send(self, to: NodeId, address: str, *parts: bytes) -> None:
        """One packet; room that is left carries news. One who is dead here is told of no other's death: it may be cut
        off with others who are well, and would believe it.
        """
        content = list(parts)
        if self.broadcasts:
            room = PACKET_BYTES - len(self.beginning) - 3 - sum(map(len, parts))
            member = self.table.members.get(to)
            dead = to if member is not None and member.state not in LIVE else None
            content += self.broadcasts.take(room, self.config.retransmits(self.table.live), dead)
        self.effects.append(Send(to, address, pack(self.beginning, content)))

    def tell(self, about: NodeId, message: Message, now: float) -> None:
        """News for everybody, from the next gossip round on."""
        self.broadcasts.put(about, encode(message), accuses=isinstance(message, Suspect | Dead))
        if ("gossip", "") not in self.timers:
            interval = self.config.gossip_interval
            rounds = math.floor((now - self._phase) / interval) + 1
            self.timers.set(("gossip", ""), self._phase + rounds * interval)

    def changed(self, member: Member, before: State | None) -> None:
        self.effects.append(Changed(member, before))

    def conflict(self, member: NodeId, addresses: tuple[str, ...], boot: Boot, now: float) -> bool:
        """Whether it was due to be told; a node with a live
        double would otherwise be told of with each packet.
        """
        if now - self._conflicts.get(member, float("-inf")) < self.config.gossip_to_dead:
            return False
        self._conflicts[member] = now
        self.effects.append(Conflict(member, addresses, boot))
        return True
