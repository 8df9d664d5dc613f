"""Whether the next one answers: a ping, then more pings, also through helpers, then an accusation."""

from dataclasses import dataclass, field

from gossip.claims import Claims
from gossip.codec import encode
from gossip.core import Core
from gossip.identity import NodeId
from gossip.member import Member, State
from gossip.messages import Ack, Dead, Nack, Ping, PingRequest, Suspect

REPEATS = 4
"""Pings after the probe timeout. One message may be lost, and each false suspicion is news for the whole mesh: with one
ping a thousand members that lose a quarter accuse more than gossip can carry (docs/membership.md)."""
MAX_RELAYS = 1024
"""Probes on behalf of others at a time (memberlist's handler queue)."""


@dataclass(slots=True)
class Probe:
    """pause: seconds between two pings once the probe timeout is over."""

    sequence: int
    target: NodeId
    started: float
    pause: float
    repeats: int = 0
    helpers: list[NodeId] = field(default_factory=list)
    nacks: list[NodeId] = field(default_factory=list)


@dataclass(slots=True)
class Relay:
    """A probe on behalf of `requester`, who knows it as `sequence`."""

    requester: NodeId
    address: str
    sequence: int
    target: NodeId
    nacked: bool = False


class Prober:
    """Timers: `probe` starts one, `indirect` asks helpers, `repeat` pings
    again, `verdict` judges; `relay` is a probe for somebody else.
    """

    def __init__(self, core: Core, claims: Claims) -> None:
        self._core = core
        self._claims = claims
        self._sequence = 0
        self._probe: Probe | None = None
        self._relays: dict[int, Relay] = {}

    def start(self, now: float) -> None:
        core, target = self._core, self._core.table.next_probe()
        if target is None:
            core.timers.set(("probe", ""), now + core.config.probe_interval)
            return
        timeout, given = core.config.probe_timeout, core.config.probe_interval * (core.health.score + 1)
        self._probe = Probe(self._advance(), target.id, now, (given - timeout) / REPEATS)
        core.timers.set(("indirect", ""), now + timeout, span=timeout)
        core.timers.set(("verdict", ""), now + given, span=given)
        self._ping(self._probe, target)

    def escalate(self, now: float) -> None:
        """No answer within the probe timeout: others try, and so do we again."""
        core, probe = self._core, self._probe
        target = None if probe is None else core.table.members.get(probe.target)
        if probe is None or target is None:
            return
        helpers = core.table.sample(
            core.config.indirect_probes, lambda one: one.state is State.ALIVE and one.id != target.id
        )
        probe.helpers = [helper.id for helper in helpers]
        request = encode(PingRequest(probe.sequence, target.id, target.address))
        for helper in helpers:
            core.send(helper.id, helper.address, request)
        self.repeat(now)

    def repeat(self, now: float) -> None:
        """Evenly up to the verdict, so that a node that gives others more time also asks them over all of it."""
        core, probe = self._core, self._probe
        target = None if probe is None else core.table.members.get(probe.target)
        if probe is None or target is None:
            return
        self._ping(probe, target)
        probe.repeats += 1
        if probe.repeats < REPEATS:
            core.timers.set(("repeat", ""), now + probe.pause)

    def _ping(self, probe: Probe, target: Member) -> None:
        ping = encode(Ping(probe.sequence, target.id))
        self._core.send(target.id, target.address, ping, *self.accusation(target))

    def judge(self, now: float) -> None:
        """No answer at all. Helpers that did not even say nack speak against ourselves."""
        core, probe = self._core, self._probe
        if probe is not None:
            core.health.apply(len(probe.helpers) - len(probe.nacks) if probe.helpers else 1)
            target = core.table.members.get(probe.target)
            if target is not None and core.health.accusing(now):
                claim = Suspect(target.id, target.boot, target.incarnation, core.me)
                self._claims.suspect(claim, core.me, now)
        self._end()
        self.start(now)

    def stop(self) -> None:
        self._probe = None

    def pinged(self, sender: NodeId, address: str, ping: Ping) -> None:
        """A node answers only for itself; whom it holds suspect or dead learns it with the answer."""
        if ping.target == self._core.me:
            known = self._core.table.members.get(sender)
            self._core.send(sender, address, encode(Ack(ping.sequence)), *self.accusation(known))

    def acked(self, sender: NodeId, ack: Ack, now: float) -> None:
        """Believed from the target, or from a helper that was
        asked. One for a probe already judged changes nothing.
        """
        core, probe = self._core, self._probe
        if probe is not None and ack.sequence == probe.sequence:
            if sender == probe.target or sender in probe.helpers:
                self._end()
                core.health.apply(-1)
                core.timers.set(("probe", ""), max(now, probe.started + core.config.probe_interval))
            return
        relay = self._relays.get(ack.sequence)
        if relay is not None and relay.target == sender:
            del self._relays[ack.sequence]
            core.timers.cancel(("relay", ack.sequence))
            core.send(relay.requester, relay.address, encode(Ack(relay.sequence)))

    def nacked(self, sender: NodeId, nack: Nack) -> None:
        probe = self._probe
        if probe is None or nack.sequence != probe.sequence:
            return
        if sender in probe.helpers and sender not in probe.nacks:
            probe.nacks.append(sender)

    def requested(self, sender: NodeId, address: str, request: PingRequest, now: float) -> None:
        core = self._core
        if len(self._relays) >= MAX_RELAYS or request.target in core.forgotten or request.target == core.me:
            return
        sequence = self._advance()
        self._relays[sequence] = Relay(sender, address, request.sequence, request.target)
        core.timers.set(("relay", sequence), now + core.config.nack_share * core.config.probe_timeout)
        known = core.table.members.get(request.target)
        core.send(
            request.target, request.address, encode(Ping(sequence, request.target)), *self.accusation(known)
        )

    def relay_due(self, sequence: int, now: float) -> None:
        """First the nack; an interval later an ack would be of no use any more."""
        core, relay = self._core, self._relays[sequence]
        if relay.nacked:
            del self._relays[sequence]
            return
        relay.nacked = True
        core.timers.set(("relay", sequence), now + core.config.probe_interval)
        core.send(relay.requester, relay.address, encode(Nack(relay.sequence)))

    def accusation(self, member: Member | None) -> list[bytes]:
        """What the member must hear first in order to refute it (Lifeguard's buddy system)."""
        if member is not None and member.state is State.SUSPECT:
            return [encode(Suspect(member.id, member.boot, member.incarnation, self._core.me))]
        if member is not None and member.state is State.DEAD:
            return [encode(Dead(member.id, member.boot, member.incarnation))]
        return []

    def _end(self) -> None:
        self._probe = None
        for kind in ("indirect", "repeat", "verdict"):
            self._core.timers.cancel((kind, ""))

    def _advance(self) -> int:
        self._sequence += 1
        return self._sequence
