"""One request to the voters of a lease, from the first question to its result."""

from collections.abc import Callable, Iterable

import msgspec

from gossip.identity import NodeId
from node.leases.acceptor import NOBODY
from node.leases.maps import LeaseMap
from node.leases.wire import Ask, LeaseToken, Told, margin

ROUND_TIMEOUT = 1.0
"""Seconds that voters have to answer; shorter fails sooner behind a slow disk, longer delays the word of a cut."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`won`: granted by a majority, until `until` on this node's clock. Else `grant`: who has it, for `left` seconds
    at most; or nobody that is known: then `silent` did not answer. `ready` False: this node knows no map yet."""

    won: bool
    token: LeaseToken
    until: float = 0.0
    grant: LeaseToken | None = None
    left: float = 0.0
    note: str = ""
    silent: tuple[NodeId, ...] = ()
    ready: bool = True


class Round:
    """`take` without an epoch (0) looks for one: above all that are seen. `kind` "renew" keeps its token."""

    def __init__(
        self,
        number: int,
        kind: str,
        name: str,
        slot: int,
        token: LeaseToken,
        *,
        ttl: float,
        note: str,
        now: float,
        done: Callable[[Result], None],
    ) -> None:
        self.number, self.kind, self.name, self.slot = number, kind, name, slot
        self.token, self.ttl, self.note, self.done = token, ttl, note, done
        self.sent = now
        self.deadline = now + ROUND_TIMEOUT
        self.maps: dict[bytes, LeaseMap] = {}
        self._asked: set[NodeId] = set()
        self._told: dict[NodeId, Told] = {}

    def learn(self, maps: Iterable[LeaseMap]) -> None:
        """A majority is needed in each of these too."""
        for found in maps:
            self.maps.setdefault(found.version, found)

    def asks(self) -> list[tuple[NodeId, Ask]]:
        """Whom to ask what, of those not asked yet."""
        voters = {node for voters in self._sets() for node in voters}
        fresh = sorted(voters - self._asked)
        self._asked.update(fresh)
        kind = "take" if self.kind == "renew" else self.kind
        ask = Ask(self.number, kind, self.name, self.token, self.ttl, self.note)
        return [(node, ask) for node in fresh]

    def hear(self, node: NodeId, told: Told) -> None:
        self._told[node] = told

    def again(self, number: int, epoch: int, now: float) -> None:
        """Once more, with a larger epoch."""
        self.number, self.sent = number, now
        self.token = (epoch, *self.token[1:])
        self._asked.clear()
        self._told.clear()

    @property
    def outbid(self) -> int | None:
        """The largest epoch seen, where ours is not above it and we are free to choose another."""
        seen = max((told.promised for told in self._told.values() if not told.ok), default=0)
        return seen if self.kind == "take" and seen >= self.token[0] else None

    def granted(self) -> list[NodeId]:
        return sorted(node for node, told in self._told.items() if told.ok and told.votes)

    def result(self, now: float) -> Result | None:
        """None: it is not decided yet."""
        yes = set(self.granted())
        if all(_majority(voters, yes) for voters in self._sets()):
            return self._won()
        no = self._told.keys() - yes
        lost = any(len(voters) - len(no.intersection(voters)) < _needed(voters) for voters in self._sets())
        if lost or now >= self.deadline:
            return self._lost()
        return None

    def _won(self) -> Result:
        until = self.sent + self.ttl - margin(self.ttl)
        grant = self._seen() if self.kind == "read" else None
        if grant is None:
            return Result(won=True, token=self.token, until=until)
        return Result(
            won=True, token=self.token, until=until, grant=grant.grant, left=grant.left, note=grant.note
        )

    def _lost(self) -> Result:
        seen = self._seen()
        silent = tuple(sorted({n for voters in self._sets() for n in voters} - self._told.keys()))
        if seen is None:
            return Result(won=False, token=self.token, silent=silent)
        return Result(
            won=False, token=self.token, grant=seen.grant, left=seen.left, note=seen.note, silent=silent
        )

    def _seen(self) -> Told | None:
        """The newest grant in force that voters told of, other than our own."""
        grants = [
            told
            for told in self._told.values()
            if told.grant is not None and (self.kind == "read" or told.grant != self.token)
        ]
        return max(grants, key=lambda told: (told.grant or NOBODY, told.left), default=None)

    def _sets(self) -> list[tuple[NodeId, ...]]:
        return [found.voters(self.slot) for found in self.maps.values()]


def _needed(voters: tuple[NodeId, ...]) -> int:
    return len(voters) // 2 + 1


def _majority(voters: tuple[NodeId, ...], yes: set[NodeId]) -> bool:
    return len(yes.intersection(voters)) >= _needed(voters)
