"""What the membership driver is made of: who this node is, and where and how it takes part."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gossip.config import SwimConfig
from gossip.identity import Boot
from gossip.member import Meta
from node.security.keyring import KeyRing
from node.security.keys import NodeKeys
from node.security.roster import Roster
from node.security.tickets import TICKETS_FILE, Tickets


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are, of which mesh, among whom."""

    keys: NodeKeys
    boot: Boot
    ring: KeyRing
    roster: Roster
    tickets: Tickets

    @classmethod
    def load(cls, data_dir: Path, *, keys: NodeKeys, boot: Boot, ring: KeyRing, roster: Roster) -> Self:
        """With the tickets that this directory has. Raises BadRoster."""
        tickets = Tickets.load(data_dir / TICKETS_FILE, time.time())
        return cls(keys=keys, boot=boot, ring=ring, roster=roster, tickets=tickets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`bind`: of the control plane, `host:port`; the join socket is two ports above, or free where it is 0.

    `advertise`: a host or `host:port` for others, None: from `bind`. `bulk`: the advertised bulk address.
    `meta.join` is filled in by the driver. `data_dir`: where contacts are kept.
    """

    bind: str
    bulk: str
    meta: Meta
    config: SwimConfig
    data_dir: Path
    advertise: str | None = None
