"""What an operator does to who may speak: tokens, verdicts, rotation. Each is on disk here before it is answered,
and told to all live members at once; members that are away learn it from the exchange when they come back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gossip.identity import NodeId
from node.security.keyring import KeyRing
from node.security.keys import ClusterKey
from node.security.roster import Entry, Roster
from node.security.spread import Spread
from node.security.tickets import Ticket, Tickets
from node.security.token import OneTimeToken


class Save(Protocol):
    def __call__(self) -> None:
        """Puts roster, tickets and key on disk; blocks."""


class Keeper:
    """Used on the membership loop. `me`: who issues; `addresses`: join sockets for tokens, the own one first."""

    def __init__(
        self,
        me: NodeId,
        *,
        ring: KeyRing,
        roster: Roster,
        tickets: Tickets,
        spread: Spread,
        addresses: Callable[[], Sequence[str]],
        save: Save,
    ) -> None:
        self._me = me
        self._ring, self._roster, self._tickets, self._spread = ring, roster, tickets, spread
        self._addresses = addresses
        self._save = save

    async def issue(self, *, uses: int, life: float) -> tuple[Ticket, OneTimeToken]:
        """A token for so many newcomers within `life` seconds. Raises BadRoster where there are too many."""
        ticket, secret = self._tickets.issue(uses=uses, life=life, issuer=self._me, now=time.time())
        await asyncio.to_thread(self._save)
        self._spread.ticket_news(ticket)
        key = self._ring.current
        token = OneTimeToken(tuple(self._addresses()), secret, key.join_server.public, key.mesh_id)
        return ticket, token

    async def tickets(self) -> list[Ticket]:
        return self._tickets.all(time.time())

    async def withdraw(self, id_: str) -> Ticket | None:
        """None: there is no such ticket."""
        ticket = self._tickets.withdraw(id_, time.time())
        if ticket is not None:
            await asyncio.to_thread(self._save)
            self._spread.ticket_news(ticket)
        return ticket

    async def rotate(self) -> ClusterKey:
        """Make a new cluster key. Tokens of before, of either kind, open nothing any more: one-time tokens name
        the join sockets' old key, so they are withdrawn, that nobody thinks otherwise.
        """
        key, now = self._ring.rotate(), time.time()
        gone = [
            self._tickets.withdraw(ticket.id, now) for ticket in self._tickets.all(now) if ticket.good(now)
        ]
        await asyncio.to_thread(self._save)
        self._spread.key_news()
        self._spread.ticket_news(*filter(None, gone))
        return key

    async def judge(self, node: NodeId, *, revoked: bool) -> Entry | None:
        """Revoke a member, or admit it again; its entry. None: it is not on the roster."""
        changed = self._roster.revoke(node) if revoked else self._roster.readmit(node)
        if changed:
            self._spread.news([node])
            await asyncio.to_thread(self._save)
        return self._roster.entry(node)
