"""Whom to look for: nodes that we were told of, or once met, and that are not live members now."""

import math
from collections.abc import Iterable

from gossip.core import Core
from gossip.identity import NodeId
from gossip.member import LIVE, Member, State

MAX_UNMET = 256
"""So many addresses that nobody has answered from are kept; anybody can advertise names on a LAN."""

SOONEST = 5.0
"""Probe intervals between two tries of a dead member in a small mesh."""
SHARE = 0.5
"""Probe intervals of that pause for each live member: a push-pull is as large as the mesh."""
AT_ONCE = 8
"""Dead members that hear what is believed of them in one probe interval while a cut heals."""


class Contacts:
    """unmet: address and expiry of nodes told of but never met; a member's address stands in the table."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._unmet: dict[NodeId, tuple[str, float]] = {}
        self._tries: dict[NodeId, int] = {}
        self._returns = (-math.inf, -math.inf)
        """When the last two members came back that were held for dead."""

    def add(self, contacts: Iterable[tuple[NodeId, str]], now: float) -> None:
        """Takes up the search for each that is not a live member."""
        core = self._core
        for contact, address in contacts:
            if contact in core.forgotten or self._live(contact):
                continue
            if contact not in self._unmet and len(self._unmet) >= MAX_UNMET:
                continue
            self._unmet[contact] = (address, now + core.config.retention)
            self._tries[contact] = 0
            core.timers.set(("seek", contact), now)

    def seek(self, contact: NodeId, now: float) -> str | None:
        """The address to try now; the next try is set, twice
        as far off each time, up to the reconnect interval.
        """
        address, expiry = self._unmet[contact]
        if now >= expiry or self._live(contact):
            self.drop(contact)
            return None
        config, tries = self._core.config, self._tries[contact]
        pause = min(config.reconnect_interval, config.probe_interval * 2 ** min(tries, 16))
        self._tries[contact] = tries + 1
        self._core.timers.set(("seek", contact), now + pause * (0.75 + 0.5 * self._core.rng.random()))
        return address

    def _live(self, contact: NodeId) -> bool:
        known = self._core.table.members.get(contact)
        return known is not None and (contact == self._core.me or known.state in LIVE)

    def drop(self, contact: NodeId) -> None:
        self._unmet.pop(contact, None)
        self._tries.pop(contact, None)
        self._core.timers.cancel(("seek", contact))

    def pause(self) -> float:
        """Seconds between two tries of a dead member, up to the reconnect interval: the fewer live, the sooner."""
        config = self._core.config
        return min(
            config.reconnect_interval,
            config.probe_interval * max(SOONEST, SHARE * self._core.table.live),
        )

    def buried(self) -> tuple[NodeId, str] | None:
        """With probability dead/alive, one dead member (Serf, reconnect).

        So often that halves meet again, so rarely that few ask for one that is gone for good.
        """
        core, dead = self._core, self._dead()
        if not dead or core.rng.random() > len(dead) / core.table.live:
            return None
        chosen = dead[int(core.rng.random() * len(dead))]
        return chosen.id, chosen.address

    def returned(self, now: float) -> None:
        """One that was held for dead is well. Where two are within a reconnect interval, a cut has healed, and the
        others may be well too. Who missed their refutation would else hear of it only with their next probe, which
        may take a whole round, of a thousand members 1000 s.
        """
        self._returns = (self._returns[1], now)
        if self.healing(now) and ("heal", "") not in self._core.timers:
            self._core.timers.set(
                ("heal", ""), now + self._core.config.probe_interval * self._core.rng.random()
            )

    def healing(self, now: float) -> bool:
        return now - self._returns[0] < self._core.config.reconnect_interval

    def accused(self) -> list[Member]:
        """Some that are dead here, to be told so: who lives refutes it."""
        dead = self._dead()
        return self._core.rng.sample(dead, min(AT_ONCE, len(dead)))

    def _dead(self) -> list[Member]:
        return [member for member in self._core.table.members.values() if member.state is State.DEAD]

    def all(self) -> list[tuple[NodeId, str]]:
        """Everybody worth remembering over a restart, sorted:
        members in any state but forgotten ones, and the unmet.
        """
        core = self._core
        found = {contact: address for contact, (address, _) in self._unmet.items()}
        found.update((member.id, member.address) for member in core.table.members.values())
        del found[core.me]
        return sorted((contact, found[contact]) for contact in found if contact not in core.forgotten)
