"""Who votes on a slot: the maps in force, and when an old one is given up."""

import hashlib
from collections.abc import Iterable, Mapping

from gossip.identity import NodeId
from node.leases.wire import Known, PlainMap
from sharding.placement import Candidate, Placement
from sharding.region import LOCAL, slot_in

MAX_MAPS = 8
"""Maps in force at once; while so many wait for somebody who is away, no newer one is taken. When nobody is, one is
taken in any case: two nodes whose newest maps differ agree only on a newer one."""


class LeaseMap:
    """One set of members; immutable. `version`: the hash of everything that the voters follow from."""

    def __init__(self, candidates: Iterable[Candidate], *, replicas: int, slots: int) -> None:
        self._slots = slots
        self._placement = Placement(candidates, replicas=replicas, slots=slots)
        self.candidates = self._placement.candidates
        self.members = frozenset(candidate.id for candidate in self.candidates)
        self.version = hashlib.blake2b(repr((self.plain(), replicas, slots)).encode(), digest_size=8).digest()

    def voters(self, slot: int) -> tuple[NodeId, ...]:
        return self._placement.owners(slot)

    def homeless(self, slot: int) -> bool:
        """Whether members of all regions vote, as there is none of the slot's own."""
        return self._placement.homeless(slot)

    def all_voters(self) -> Iterable[tuple[NodeId, ...]]:
        regions = {LOCAL, *(candidate.region for candidate in self.candidates)}
        return (self.voters(slot_in(region, n)) for region in sorted(regions) for n in range(self._slots))

    def plain(self) -> PlainMap:
        return [(str(c.id), float(c.weight), _place(c)) for c in self.candidates]


class Maps:
    """`active`: the maps in force, the newest last. `settled`: whether this node may vote and ask."""

    def __init__(self, me: NodeId, *, replicas: int, slots: int) -> None:
        self.me = me
        self._replicas, self._slots = replicas, slots
        self.active: list[LeaseMap] = []
        self.settled = False
        self.forgotten: set[NodeId] = set()
        self._foreign: dict[NodeId, Candidate] = {}
        self._acks: dict[NodeId, bool] = {}
        self.number = 0
        """Of the last question to the others: an answer to one from before the newest map says nothing about it."""
        self._asked_from = 0
        self._wanted: tuple[Candidate, ...] = ()
        self._wanted_since = 0.0

    @property
    def version(self) -> bytes:
        """Of all maps in force."""
        return b"".join(found.version for found in self.active)

    @property
    def members(self) -> frozenset[NodeId]:
        """Of all maps in force."""
        return frozenset(node for found in self.active for node in found.members)

    def voters_in(self, region: str) -> int:
        """How many vote on a slot of the region, by the newest map."""
        return len(self.active[-1].voters(slot_in(region, 0))) if self.active else 0

    def homeless(self, slot: int) -> bool:
        """Whether nobody of the slot's home region votes on it, by any map in force: all are forgotten or drained."""
        return bool(self.active) and all(found.homeless(slot) for found in self.active)

    @property
    def open(self) -> bool:
        """Whether somebody has still to be heard."""
        return bool(self.active) and (len(self.active) > 1 or not self.settled)

    def made(self, plain: PlainMap) -> LeaseMap:
        return LeaseMap(
            (_candidate(node, weight, place) for node, weight, place in plain),
            replicas=self._replicas,
            slots=self._slots,
        )

    def load(self, known: Known) -> None:
        self.active = [self.made(plain) for plain in known.maps]
        self.settled = known.settled
        self.forgotten = {NodeId(node) for node in known.forgotten}

    def known(self) -> Known:
        return Known([found.plain() for found in self.active], self.settled, sorted(self.forgotten))

    def found(self) -> bool:
        """This node begins a mesh: there is nobody else to be heard."""
        if self.active or self.settled:
            return False
        self.active = [self.made([(str(self.me), 1.0, "")])]
        self.settled = True
        return True

    # ---- a new map

    def want(
        self, present: Mapping[NodeId, Candidate], alive: frozenset[NodeId], now: float, wait: float
    ) -> bool:
        """Take a new map when what is known of the members has been the same for `wait` seconds."""
        self.forgotten -= alive
        candidates = {**self._foreign, **present}
        if self.active:
            for candidate in self.active[-1].candidates:
                candidates.setdefault(candidate.id, candidate)
        wanted = tuple(sorted(c for c in candidates.values() if c.weight > 0 and c.id not in self.forgotten))
        if wanted != self._wanted:
            self._wanted, self._wanted_since = wanted, now
        same = bool(self.active) and wanted == self.active[-1].candidates
        full = len(self.active) >= MAX_MAPS and not self.members - self.forgotten - {self.me} <= alive
        if same or not wanted or now < self._wanted_since + wait or full:
            return False
        self.active.append(LeaseMap(wanted, replicas=self._replicas, slots=self._slots))
        self._acks.clear()
        self._asked_from = self.number + 1
        return True

    # ---- giving up the old ones

    def hear(self, maps: list[LeaseMap], forgotten: Iterable[NodeId]) -> None:
        """Another node says which maps it has."""
        self.forgotten.update(forgotten)
        for candidate in maps[-1].candidates if maps else ():
            self._foreign.setdefault(candidate.id, candidate)

    def answered(self, sender: NodeId, maps: list[LeaseMap], number: int, *, settled: bool) -> bool:
        """It answers our question `number`, with all that it has promised; whether it has our newest map."""
        same = bool(maps and self.active) and maps[-1].version == self.active[-1].version
        if same and number >= self._asked_from:
            self._acks[sender] = settled
        return same

    def missing(self) -> list[NodeId]:
        """Who has still to say that it has the newest map."""
        return sorted(self.members - self.forgotten - {self.me} - self._acks.keys())

    def settle(self, now: float, wait: float) -> bool:
        """Drop the older maps if everybody was heard. Who knew nothing needs one who did; or that nobody does (a mesh
        that is new to leases), and that no other member has turned up for three times `wait` seconds."""
        if not self.open or self.missing():
            return False
        early = not self._acks or now < self._wanted_since + 3 * wait
        if not self.settled and not any(self._acks.values()) and early:
            return False
        self.active = self.active[-1:]
        self.settled = True
        return True

    def forget(self, nodes: Iterable[NodeId]) -> None:
        """These are gone for ever."""
        self.forgotten.update(nodes)

    @property
    def bereft(self) -> bool:
        """Whether a slot has lost so many voters unheard that those who are left may know nothing of a lease."""
        lost = self.forgotten - self._acks.keys() - {self.me}
        found = [voters for one in self.active if lost & one.members for voters in one.all_voters()]
        return any(2 * len(lost.intersection(voters)) > len(voters) for voters in found)


def _place(candidate: Candidate) -> str:
    """The zone; with its region before it where that is not the default one (no zone has a slash)."""
    return candidate.zone if candidate.region == LOCAL else f"{candidate.region}/{candidate.zone}"


def _candidate(node: str, weight: float, place: str) -> Candidate:
    region, slash, zone = place.partition("/")
    return Candidate(NodeId(node), weight, zone, region) if slash else Candidate(NodeId(node), weight, place)
