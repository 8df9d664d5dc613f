"""What is believed of others: each claim is taken if it is newer than what is known, and then passed on.

One evil member cannot remove another that answers: a death that others tell is taken as a suspicion with the
teller as its accuser, and each node's own timer decides, so the subject has the time to refute; that somebody left
is believed from itself, or from two others; a later life from itself (`gossip.lives`); and nobody starts suspicions
without end.
"""

import msgspec

from gossip.allowance import Allowances
from gossip.codec import encode
from gossip.contacts import Contacts
from gossip.core import Core
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.lives import Lives
from gossip.member import LIVE, MAX_JUMP, Member, State, decode_meta, precedes
from gossip.messages import Alive, Dead, Departed, Record, Suspect
from gossip.suspicion import Suspicion


class Claims:
    """Claims about others than this node. Every one raises Malformed if no correct node can have made it."""

    def __init__(self, core: Core, contacts: Contacts, lives: Lives) -> None:
        self._core = core
        self._contacts = contacts
        self._lives = lives
        self._suspicions: dict[NodeId, Suspicion] = {}
        self._allowances = Allowances(core.config.probe_interval)
        self._departing: dict[NodeId, tuple[int, NodeId]] = {}  # incarnation, who told it first

    def alive(self, claim: Alive, teller: NodeId, now: float) -> None:
        """Beats anything with a smaller incarnation, and nothing else; a larger boot, if it is believed, has larger
        incarnations.
        """
        known = self._core.table.members.get(claim.id)
        if known is not None:
            if claim.incarnation <= known.incarnation:
                if claim.incarnation == known.incarnation:
                    self.located(known, claim.address, now)
                return
            _plausible_rise(claim.boot, claim.incarnation, known)
        _plausible_life(claim)
        meta = decode_meta(claim.meta)
        if not self._lives.believed(claim, teller, now):
            return
        since = known.since if known is not None and known.state is State.ALIVE else now
        member = Member(claim.id, claim.boot, claim.incarnation, State.ALIVE, claim.address, meta, since)
        self._settle(member, claim.meta)
        self._core.tell(claim.id, claim, now)
        if known is not None and known.state is State.DEAD:
            self._contacts.returned(now)
        if known is None or not _looks_same(known, member):
            self._core.changed(member, None if known is None else known.state)

    def suspect(self, claim: Suspect, teller: NodeId, now: float) -> None:
        """Newer than alive (j <= i) and suspect (j < i).

        A repeated one is passed on while its accuser still counts. Raises Malformed too where the teller has
        spent its allowance.
        """
        known = self._this_life(claim.id, claim.boot, claim.incarnation)
        if known is None:
            return
        if known.state is State.SUSPECT and known.incarnation == claim.incarnation:
            self._confirm(claim, now)
        elif precedes(claim.incarnation, State.SUSPECT, known):
            core = self._core
            if teller != core.me and not self._allowances.take(teller, core.table.live, now):
                raise Malformed(f"{teller} accuses too often")
            self._become(known, claim.incarnation, State.SUSPECT, now)
            suspicion = Suspicion.start(core.config, n=core.table.live, accuser=claim.accuser, now=now)
            self._suspicions[claim.id] = suspicion
            core.timers.set(("suspicion", claim.id), suspicion.due, span=suspicion.duration)
            core.tell(claim.id, claim, now)

    def buried(self, claim: Dead, teller: NodeId, now: float) -> None:
        """Another member holds it dead: a suspicion, or one more accuser of it."""
        known = self._this_life(claim.id, claim.boot, claim.incarnation)
        if known is None or not precedes(claim.incarnation, State.DEAD, known):
            return
        self.suspect(Suspect(claim.id, claim.boot, claim.incarnation, teller), teller, now)
        self._suspicions[claim.id].believed = True

    def departed(self, claim: Departed, teller: NodeId, now: float) -> None:
        """Beats all else of its incarnation, when the subject itself or two others said so, or one of a member that
        is dead here anyhow.
        """
        known = self._this_life(claim.id, claim.boot, claim.incarnation)
        if known is None or not precedes(claim.incarnation, State.LEFT, known):
            return
        first = self._departing.setdefault(claim.id, (claim.incarnation, teller))
        if first[0] != claim.incarnation:
            first = self._departing[claim.id] = (claim.incarnation, teller)
        if teller == first[1] and teller != claim.id and known.state is not State.DEAD:
            return
        self._become(known, claim.incarnation, State.LEFT, now)
        self._core.tell(claim.id, claim, now)

    def expired(self, about: NodeId, now: float) -> None:
        """The suspicion was not refuted in time: dead, unless only we say so, and are late ourselves."""
        core, known = self._core, self._core.table.members[about]
        if core.health.accusing(now) or self._suspicions[about].believed:
            self._become(known, known.incarnation, State.DEAD, now)
            self._contacts.died(now)
            core.tell(about, Dead(about, known.boot, known.incarnation), now)
        else:
            core.timers.set(
                ("suspicion", about), now + core.config.probe_interval, span=core.config.probe_interval
            )

    def record(self, record: Record, sender: NodeId, now: float) -> None:
        """One member of a push-pull.

        A death of somebody we know is taken as a suspicion, so that one sick node cannot bury others; of
        somebody unknown it is taken as told, as a leave always is.
        """
        known = self._core.table.members.get(record.id)
        if known is not None and not precedes(record.incarnation, record.state, known):
            if record.incarnation == known.incarnation:
                self.located(known, record.address, now)
            return
        gone = record.state in (State.DEAD, State.LEFT)
        if gone and (known is None or known.state not in LIVE):
            self._remember(record, known, sender, now)
            return
        claim = Alive(record.id, record.boot, record.incarnation, record.address, record.meta)
        self.alive(claim, sender, now)
        if record.state is State.LEFT:
            self.departed(Departed(record.id, record.boot, record.incarnation), sender, now)
        elif record.state is State.DEAD:
            self.buried(Dead(record.id, record.boot, record.incarnation), sender, now)
        elif record.state is State.SUSPECT:
            self.suspect(Suspect(record.id, record.boot, record.incarnation, sender), sender, now)

    def located(self, known: Member, address: str, now: float) -> None:
        """Where the subject is said to be under the incarnation that we hold.

        Elsewhere: its key lives twice, and the one we know hears of the other, which it would never meet.
        """
        core = self._core
        if address != known.address and core.conflict(known.id, (known.address, address), known.boot, now):
            double = Alive(known.id, known.boot, known.incarnation, address, core.table.metas[known.id])
            core.send(known.id, known.address, encode(double))

    def forget(self, about: NodeId, now: float) -> None:
        """Taken as left here; not told, since each node forgets by itself."""
        known = self._core.table.members.get(about)
        if known is not None and known.state is not State.LEFT:
            self._become(known, known.incarnation, State.LEFT, now)
        self._core.broadcasts.drop(about)

    def reap(self, about: NodeId) -> None:
        """Gone for longer than the retention."""
        self._allowances.drop(about)
        self._lives.drop(about)
        self._core.table.remove(about)

    def _this_life(self, about: NodeId, boot: Boot, incarnation: int) -> Member | None:
        known = self._core.table.members.get(about)
        if known is None or known.boot != boot:
            return None
        _plausible_rise(boot, incarnation, known)
        return known

    def _confirm(self, claim: Suspect, now: float) -> None:
        suspicion = self._suspicions[claim.id]
        if suspicion.confirm(claim.accuser):
            due = max(now, suspicion.due)
            self._core.timers.set(("suspicion", claim.id), due, span=suspicion.duration)
            self._core.tell(claim.id, claim, now)

    def correct(self, member: Member) -> None:
        """What was known of it was of another life than the one that it speaks in."""
        before = self._core.table.members[member.id].state
        self._settle(member, None)
        self._core.changed(member, before)

    def _remember(self, record: Record, known: Member | None, sender: NodeId, now: float) -> None:
        _plausible_life(record)
        age = min(record.age, self._core.config.retention)
        meta = decode_meta(record.meta)
        member = Member(
            record.id, record.boot, record.incarnation, record.state, record.address, meta, now - age
        )
        self._lives.told(record.id, record.boot, sender)
        self._settle(member, record.meta)
        if known is None or not _looks_same(known, member):
            self._core.changed(member, None if known is None else known.state)

    def _become(self, known: Member, incarnation: int, state: State, now: float) -> None:
        member = msgspec.structs.replace(known, incarnation=incarnation, state=state, since=now)
        self._settle(member, None)
        if state is not known.state:
            self._core.changed(member, known.state)

    def _settle(self, member: Member, encoded_meta: bytes | None) -> None:
        """Puts the member into the table, with the timers that belong to its state."""
        core = self._core
        core.table.put(member, encoded_meta)
        self._departing.pop(member.id, None)
        if self._suspicions.pop(member.id, None) is not None:
            core.timers.cancel(("suspicion", member.id))
        if member.state in LIVE:
            core.timers.cancel(("reap", member.id))
        else:
            core.timers.set(("reap", member.id), member.since + core.config.retention)


def _plausible_life(claim: Alive | Record) -> None:
    if claim.incarnation >> 32 != claim.boot:
        raise Malformed(f"incarnation {claim.incarnation} of {claim.id} is not one of boot {claim.boot}")


def _plausible_rise(boot: Boot, incarnation: int, known: Member) -> None:
    if boot == known.boot and incarnation - known.incarnation > MAX_JUMP:
        raise Malformed(f"incarnation {incarnation} of {known.id}, known with {known.incarnation}")


def _looks_same(known: Member, member: Member) -> bool:
    return (
        known.state is member.state
        and known.boot == member.boot
        and known.address == member.address
        and known.meta == member.meta
    )
