"""The member list: states, who is probed next, and random choices among the members."""

import random
from collections.abc import Callable

from gossip.identity import NodeId
from gossip.member import LIVE, Member


class Table:
    """members: everybody known, this node included. live: how many of them are alive or suspect."""

    def __init__(self, me: Member, encoded_meta: bytes, rng: random.Random) -> None:
        self.members: dict[NodeId, Member] = {me.id: me}
        self.metas: dict[NodeId, bytes] = {me.id: encoded_meta}
        self.live = 1
        self._me = me.id
        self._rng = rng
        self._others: list[NodeId] = []
        self._next = 0

    def put(self, member: Member, encoded_meta: bytes | None = None) -> None:
        """Adds or replaces; a new member is probed at a random point of the current round."""
        known = self.members.get(member.id)
        self.live += (member.state in LIVE) - (known is not None and known.state in LIVE)
        self.members[member.id] = member
        if encoded_meta is not None:
            self.metas[member.id] = encoded_meta
        if known is None:
            place = int(self._rng.random() * (len(self._others) + 1))
            self._others.insert(place, member.id)
            if place < self._next:
                self._next += 1

    def remove(self, member: NodeId) -> None:
        known = self.members.pop(member)
        del self.metas[member]
        self.live -= known.state in LIVE
        self._others.remove(member)

    def next_probe(self) -> Member | None:
        """Round robin over a list shuffled anew each round:
        each live member is probed within 2n - 1 probes.
        """
        for _ in range(len(self._others) + 1):
            if self._next >= len(self._others):
                self._rng.shuffle(self._others)
                self._next = 0
            if not self._others:
                return None
            member = self.members[self._others[self._next]]
            self._next += 1
            if member.state in LIVE:
                return member
        return None

    def sample(self, count: int, accept: Callable[[Member], bool]) -> list[Member]:
        """Up to `count` different others that are accepted; 3n tries suffice (memberlist, kRandomNodes)."""
        others, chosen = self._others, list[Member]()
        if len(others) <= count:
            return [member for member in map(self.members.__getitem__, others) if accept(member)]
        for _ in range(3 * len(others)):
            member = self.members[others[int(self._rng.random() * len(others))]]
            if member not in chosen and accept(member):
                chosen.append(member)
                if len(chosen) == count:
                    break
        return chosen
