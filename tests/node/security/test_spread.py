"""What is told to whom of what changed."""

import random

from gossip.identity import NodeId
from gossip.versions import OLDEST, PROTOCOL
from node.security.keyring import KeyRing
from node.security.keys import new_cluster_key
from node.security.roster import Entry, Roster
from node.security.spread import Spread
from node.security.tickets import Tickets

OLD, NEW = NodeId("old"), NodeId("new")


def test_members_of_the_first_protocol_are_told_of_entries_alone() -> None:
    roster, tickets = Roster(), Tickets()
    told: list[NodeId] = []
    spread = Spread(
        roster,
        random.Random(1),
        tickets=tickets,
        ring=KeyRing(new_cluster_key()),
        send=lambda node, _: told.append(node),
        live=lambda: [NEW, OLD],
        on_learned=lambda _: None,
        pause=1.0,
        protocol=lambda node: OLDEST if node == OLD else PROTOCOL,
    )
    spread.key_news()
    ticket, _ = tickets.issue(uses=1, life=60, issuer=NEW, now=0.0)
    spread.ticket_news(ticket)
    assert told == [NEW, NEW]
    entry = Entry(public_key=b"A" * 40, name="x")
    roster.join([entry])
    spread.news([entry.id])
    assert told == [NEW, NEW, NEW, OLD]
