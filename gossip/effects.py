"""What goes into the machine and what comes out of it."""

import msgspec

from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta, State


class Tick(msgspec.Struct, frozen=True):
    """The time that `due()` named has come. The driver hands over all received packets first."""


class Received(msgspec.Struct, frozen=True):
    """A packet; the transport vouches that it comes from `sender`."""

    sender: NodeId
    payload: bytes


class Contact(msgspec.Struct, frozen=True):
    """A seed or a discovery result: this node may be found there. Tried until met, backing off, for 24 h."""

    id: NodeId
    address: str


class SetMeta(msgspec.Struct, frozen=True):
    """Our own facts changed. Raises MetaTooLarge out of `handle`, with nothing changed."""

    meta: Meta


class SetAddress(msgspec.Struct, frozen=True):
    """We are reached at another address now."""

    address: str


class Leave(msgspec.Struct, frozen=True):
    """We go on purpose; the effect Left follows."""


class Lagged(msgspec.Struct, frozen=True):
    """The driver was late by so many seconds."""

    seconds: float


class Forget(msgspec.Struct, frozen=True):
    """The node is no longer of the mesh (its key is
    revoked): taken as left, neither heard nor told any more.
    """

    id: NodeId


class Retire(msgspec.Struct, frozen=True):
    """A dead member will not come back, its operator says: told to all as if it had left. Without effect on one
    that is not dead here; one that comes back after all refutes it, as any false claim about itself.
    """

    id: NodeId


class Readmit(msgspec.Struct, frozen=True):
    """The node is of the mesh again: heard, told and sought as any other."""

    id: NodeId


Event = Tick | Received | Contact | SetMeta | SetAddress | Leave | Lagged | Forget | Retire | Readmit


class Send(msgspec.Struct, frozen=True):
    """Best effort. Gossip is at most 1400 bytes, a part of a push-pull below 60 KiB."""

    to: NodeId
    address: str
    payload: bytes


class Changed(msgspec.Struct, frozen=True):
    """A member's state, boot, address or meta changed. before: None for a member that was unknown."""

    member: Member
    before: State | None


class Conflict(msgspec.Struct, frozen=True):
    """One key lives twice: the same boot at two addresses, or, about ourselves, a boot beyond ours (`boot`).

    Told at most once per `gossip_to_dead` and node. About ourselves: the one whose boot its own storage does
    not confirm must stop, and may start again with a boot above `boot`.
    """

    id: NodeId
    addresses: tuple[str, ...]
    boot: Boot


class Left(msgspec.Struct, frozen=True):
    """Our own leave has been spread, or its time is over: the driver may exit."""


Effect = Send | Changed | Conflict | Left
