"""Which protocol versions nodes speak with each other, and what may change between two of them.

A node states in its meta the newest protocol that it speaks and the oldest (`protocol`, `oldest`). Two nodes speak
the lesser of their newest; a mesh speaks the least of all its live members, so a rolling upgrade goes over to the new
protocol when the last node has it. A node that a live member cannot understand at all does not stay.

Rules for whoever changes a format that is sent or stored:

1.  Fields are added at the end, with a default that means what their absence meant. None is removed, none changes
    its type or meaning. A reader ignores fields that it does not know.
2.  A new kind of message, on the bulk plane, in a gossip packet or about the roster, says since which protocol it is
    spoken and is sent only to a node that speaks it (`node.messages.Message.since`; the core withholds it from others;
    `node.security.exchange.SINCE`). A reader skips and counts kinds that it does not know; what else is in the packet
    still counts.
3.  A new kind of fact is written only when the mesh speaks the protocol that has it (`Core.protocol`). A node that does
    not know it logs, relays and hashes its envelopes, but does not read it, and a fold there does not keep it.
4.  A new operation between nodes needs no protocol: who does not know it answers 501, and the caller says so.
5.  What all must read (roster entries, claims of gossip) carries new facts in `Meta`, which is relayed verbatim.
6.  The version byte in front of a packet, message or envelope changes only with the framing itself, and then all
    nodes still send the old one until the mesh speaks the new protocol.
7.  On disk: rule 1 and 3; anything else raises `node.data_directory.FORMAT` or the version in a file's own header,
    and an older program refuses it with the reason and nothing changed.

Protocols: 1, the first release. 2: ledgers are folded and bases sent; unknown kinds are skipped one by one (before, an
unknown kind in a gossip packet cost the whole packet); leases and locks; a newcomer proves its own key
(`node.transport.hello`). Who speaks 1 cannot join through one who speaks 2, nor the other way round; members stay
members. Nothing is folded before the whole mesh speaks 2: an older replica that lacked what a fold let go could never
get it. 3: slots have home regions (an older node takes part in region `local` alone), and messages to another region
are deflated (rule 6: `PACKED` of `node.messages`, only to nodes that speak 3). 4: voters forget old locks, and keep one
promise in place of them all (`node.leases.acceptor.FLOOR`). 5: shards that run are told another rate.
"""

from collections.abc import Iterable
from typing import Protocol

PROTOCOL = 5
OLDEST = 1


class Speaker(Protocol):
    """What of a meta matters here."""

    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> int: ...
    @property
    def oldest(self) -> int: ...


def spoken(metas: Iterable[Speaker]) -> int:
    """What a mesh of this node and these members speaks."""
    return min([PROTOCOL, *(meta.protocol for meta in metas)])


def strangers(metas: Iterable[Speaker]) -> list[str]:
    """Why this node and a member cannot speak with each other, for people; empty: all can."""
    return [
        f"{meta.name} speaks protocols {meta.oldest} to {meta.protocol}, this version {OLDEST} to {PROTOCOL}"
        for meta in metas
        if meta.protocol < OLDEST or meta.oldest > PROTOCOL
    ]
