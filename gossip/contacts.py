"""Whom to look for: nodes that we were told of, or once met, and that are not live members now."""

from collections.abc import Iterable

from gossip.core import Core
from gossip.identity import NodeId
from gossip.member import LIVE, State

MAX_UNMET = 256
"""So many addresses that nobody has answered from are kept; anybody can advertise names on a LAN."""


class Contacts:
    """unmet: address and expiry of nodes told of but never met; a member's address stands in the table."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._unmet: dict[NodeId, tuple[str, float]] = {}
        self._tries: dict[NodeId, int] = {}

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

    def buried(self) -> tuple[NodeId, str] | None:
        """With probability dead/alive, one dead member (Serf, reconnect).

        So often that halves meet again, so rarely that few ask for one that is gone for good.
        """
        core = self._core
        dead = [member for member in core.table.members.values() if member.state is State.DEAD]
        if not dead or core.rng.random() > len(dead) / core.table.live:
            return None
        chosen = dead[int(core.rng.random() * len(dead))]
        return chosen.id, chosen.address

    def all(self) -> list[tuple[NodeId, str]]:
        """Everybody worth remembering over a restart, sorted:
        members in any state but forgotten ones, and the unmet.
        """
        core = self._core
        found = {contact: address for contact, (address, _) in self._unmet.items()}
        found.update((member.id, member.address) for member in core.table.members.values())
        del found[core.me]
        return sorted((contact, found[contact]) for contact in found if contact not in core.forgotten)
