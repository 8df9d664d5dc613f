"""Which life of a member counts: the one that it speaks in itself.

A later life has larger incarnations than anything that an earlier one can say, so whoever could make one up would
bury a member that answers. That a member which lives here has begun a new life is therefore believed from itself
only; from others it is a *rumour*, for which the member is asked. A life of anybody else that others tell is
*hearsay*: taken as told, until the member itself speaks in another.

That this very node has lived later (its directory was restored, or runs twice) is believed of more than half of the
other live members.
"""

from gossip.codec import Packet, encode
from gossip.core import Core
from gossip.identity import Boot, NodeId
from gossip.member import LIVE, Member, State
from gossip.messages import Alive, Ping

ASKED = 0
"""The sequence of a ping that asks for a life; probes count from 1, so its ack answers none."""


class Lives:
    """What `Claims` and `Own` ask before they believe in a life."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._rumours: dict[NodeId, Alive] = {}
        self._asked: dict[NodeId, float] = {}
        self._hearsay: set[NodeId] = set()
        self._outlived: dict[NodeId, Boot] = {}

    def believed(self, claim: Alive, teller: NodeId, now: float) -> bool:
        """Whether the life of this claim, which is newer than what is known, is to be taken."""
        known = self._core.table.members.get(claim.id)
        if known is None or known.state not in LIVE or claim.boot <= known.boot or teller == claim.id:
            self.told(claim.id, claim.boot, teller)
            return True
        self._rumours[claim.id] = claim
        if now - self._asked.get(claim.id, float("-inf")) >= self._core.config.probe_interval:
            self._asked[claim.id] = now
            self._core.send(claim.id, claim.address, encode(Ping(ASKED, claim.id)))
        return False

    def told(self, about: NodeId, boot: Boot, teller: NodeId) -> None:
        """This life is going to be taken."""
        known = self._core.table.members.get(about)
        if teller != about and (known is None or boot > known.boot):
            self._hearsay.add(about)

    def denied(self, sender: NodeId, packet: Packet, now: float) -> Member | None:
        """Before it is heard: the sender as it is, where it was known by hearsay of a life that it is not in yet."""
        known = self._core.table.members.get(sender)
        sound = packet.incarnation >> 32 == packet.boot
        if known is None or sender not in self._hearsay or packet.boot >= known.boot or not sound:
            return None
        return Member(sender, packet.boot, packet.incarnation, State.ALIVE, packet.address, known.meta, now)

    def confirmed(self, sender: NodeId, packet: Packet) -> Alive | None:
        """Likewise: the rumour of the life that it speaks in, if that is newer than what is known; it is true."""
        self._hearsay.discard(sender)
        rumour = self._rumours.get(sender)
        if rumour is None or rumour.boot > packet.boot:
            return None
        del self._rumours[sender]
        new = rumour.boot == packet.boot > self._core.table.members[sender].boot
        return rumour if new else None

    def mine(self, boot: Boot, teller: NodeId, now: float) -> None:
        """This member has told us the latest life of ours that it knows; judged when others have been heard."""
        core = self._core
        if boot <= core.own.boot:
            self._outlived.pop(teller, None)
            return
        self._outlived[teller] = boot
        if ("outlived", "") not in core.timers:
            core.timers.set(("outlived", ""), now + core.config.probe_interval)

    def judge(self, now: float) -> None:
        """Where more than half say so, the boot that so many say, at least, is told."""
        core = self._core
        others = [m.id for m in core.table.members.values() if m.state in LIVE and m.id != core.me]
        said = sorted((self._outlived[node] for node in others if node in self._outlived), reverse=True)
        most = len(others) // 2 + 1
        if len(said) >= most:
            core.conflict(core.me, (core.own.address,), said[most - 1], now)

    def drop(self, about: NodeId) -> None:
        """Gone for longer than the retention."""
        for kept in (self._rumours, self._asked, self._outlived):
            kept.pop(about, None)
        self._hearsay.discard(about)
