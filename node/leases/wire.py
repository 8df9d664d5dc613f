"""What voters keep and what leases say on the wire: plain data, shared by the messages and the cores."""

from typing import Annotated

import msgspec

LeaseToken = tuple[int, str, int]
"""`(epoch, writer, boot)`."""

Weight = Annotated[float, msgspec.Meta(ge=0, le=1000)]
Place = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]{1,9}/)?[^/]{0,64}\Z")]
PlainMap = list[tuple[str, Weight, Place]]
"""The candidates of a map: (node, weight, zone), sorted; the region before the zone where it is not the default one."""


class Promise(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What a voter has promised: no smaller epoch than that of `promised`; `grant`: who has the lease of it, for
    `ttl` seconds from each time it was granted. `note`: whom people are told."""

    name: str
    promised: LeaseToken
    grant: LeaseToken | None = None
    ttl: float = 0.0
    note: str = ""


class Known(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The maps in force, the oldest first; `settled`: this node has heard everybody of the first one."""

    maps: list[PlainMap]
    settled: bool
    forgotten: list[str] = []


Kept = Promise | Known
"""What is durable."""


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """`kind`: take (and renew), release, undo (a take of this round in vain), read. `round`: the proposer's number."""

    round: int
    kind: str
    name: str
    token: LeaseToken
    ttl: float = 0.0
    note: str = ""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """`ok`: granted. `promised`: the largest epoch seen. `grant`, `left`: who has it, and for how many seconds at
    most; `votes` False: this node knows too little to vote."""

    round: int
    ok: bool
    promised: int = 0
    grant: LeaseToken | None = None
    left: float = 0.0
    note: str = ""
    votes: bool = True


def margin(ttl: float) -> float:
    """Seconds that a holder stops earlier, and a voter waits longer."""
    return ttl * 2 / 15
