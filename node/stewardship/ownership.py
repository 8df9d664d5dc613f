"""Who stewards a slot: decided from the members, the placement and the claims in the slot's ledger."""

from collections.abc import Mapping

import msgspec

from gossip.identity import NodeId
from gossip.member import Member, State
from node.stewardship.damping import Damping
from sharding.placement import Placement
from state.ledger import Ledger
from state.model import NO_TOKEN, Token


class OwnershipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`takeover_delay`: seconds from a steward's death to the take-over; shorter recovers sooner, and runs more
    twice when a death was wrong. `stable_after`: seconds a returning replica must be alive before it gets its
    slots back (longer for one that died often: `damping`); shorter moves more under flapping. `replace_after`:
    seconds a dead member still counts as a replica, so that a restart copies nothing.
    """

    takeover_delay: float = 2.0
    stable_after: float = 10.0
    replace_after: float = 600.0

    @classmethod
    def local(cls) -> "OwnershipConfig":
        return cls(takeover_delay=0.3, stable_after=2.0)


class Ownership:
    """The members as last told, and who stewards what by them."""

    def __init__(self, me: NodeId, config: OwnershipConfig) -> None:
        self.me = me
        self.config = config
        self.members: Mapping[NodeId, Member] = {}
        self.placement = Placement((), slots=1)
        self.damping = Damping()
        self.leaving = False
        self._outvoted: dict[int, tuple[str, float]] = {}

    def live(self) -> frozenset[NodeId]:
        return frozenset(node for node, member in self.members.items() if _alive(member))

    def ready(self, node: str, boot: int | None = None) -> bool:
        """Alive or suspect, says that it can work, and (where a boot is named) still that life of it."""
        member = self.members.get(NodeId(node))
        return (
            member is not None
            and _alive(member)
            and member.meta.ready
            and (boot is None or member.boot == boot)
        )

    def steward(self, slot: int, ledger: Ledger | None, now: float) -> NodeId | None:
        """Who stewards the slot now; None while a dead steward's delay runs, or when no replica is ready."""
        _, holder, boot = ledger.claim() if ledger is not None else NO_TOKEN
        if holder and self.ready(holder, boot):
            return NodeId(holder)
        if holder and self._recently_dead(holder, boot, now):
            return None
        return next((node for node in self.placement.owners(slot) if self.ready(node)), None)

    def stewards(self, slots: int, ledgers: Mapping[int, Ledger], now: float) -> list[NodeId | None]:
        """`steward` of every slot at once, for lists: a hundredth of a second less a time."""
        first: dict[tuple[NodeId, ...], NodeId | None] = {}
        found: list[NodeId | None] = []
        for slot in range(slots):
            ledger = ledgers.get(slot)
            if ledger is not None and ledger.claim() != NO_TOKEN:
                found.append(self.steward(slot, ledger, now))
                continue
            owners = self.placement.owners(slot)
            if owners not in first:
                first[owners] = next((node for node in owners if self.ready(node)), None)
            found.append(first[owners])
        return found

    def _recently_dead(self, holder: str, boot: int, now: float) -> bool:
        member = self.members.get(NodeId(holder))
        return (
            member is not None
            and member.state is State.DEAD
            and member.boot == boot
            and now < member.since + self.config.takeover_delay
        )

    def successor(self, slot: int, now: float) -> NodeId | None:
        """The replica that should have the slot instead of this node, when it is stable; None: keep it."""
        for node in self.placement.owners(slot):
            if node == self.me:
                return None
            if self.ready(node) and self._stable(node, now):
                return node
        return None

    def intruder(self, slot: int, node: str, now: float) -> float | None:
        """When `node` came back, if it must have claimed the slot while it was cut off: it was dead until just now,
        and most replicas of the slot, this node among them, were here all the time. After a one-way cut two nodes
        may each see the other so: `outvotes` says yes once for each return.
        """
        member = self.members.get(NodeId(node))
        if member is None or not self.damping.deaths(member.id, now) or self._stable(member.id, now):
            return None
        owners = self.placement.owners(slot)
        stayed = [
            one
            for one in owners
            if one == self.me or (one != node and self.ready(one) and self.members[one].since < member.since)
        ]
        return member.since if self.me in owners and 2 * len(stayed) > len(owners) else None

    def outvotes(self, slot: int, node: str, now: float) -> bool:
        """Whether the steward that we were is to claim the slot again, over the claim of an intruder."""
        back = self.intruder(slot, node, now)
        if self.leaving or back is None or self._outvoted.get(slot) == (node, back):
            return False
        self._outvoted[slot] = (node, back)
        return True

    def _stable(self, node: NodeId, now: float) -> bool:
        wanted = self.damping.stable_after(node, self.config.stable_after, now)
        return now - self.members[node].since >= wanted


def next_token(claim: Token, me: NodeId, boot: int) -> Token:
    """The token of a new claim after `claim`."""
    return (claim[0] + 1, me, boot)


def _alive(member: Member) -> bool:
    return member.state in (State.ALIVE, State.SUSPECT)
