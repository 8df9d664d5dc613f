"""What the node's cores ask of their driver. A core never acts: it returns these.

The driver of production (`node.app`) and that of the simulator (`tests.sim`) carry out the same ones.
"""

import msgspec

from gossip.identity import NodeId
from node.execution.jobs import Job, JobKey
from node.messages import Message


class Append(msgspec.Struct, frozen=True):
    """Make these envelopes durable, in order after all earlier ones; then handle `Appended(batch)`.

    `items`: (slot, author, seq, encoded envelope).
    """

    batch: int
    items: list[tuple[int, str, int, bytes]]


class Send(msgspec.Struct, frozen=True):
    """Best effort, in order while the connection lasts."""

    to: NodeId
    message: Message


class Resend(msgspec.Struct, frozen=True):
    """Read `(slot, author, first, last)` from the log and send them as Envelopes, at most about 4 MiB at once."""

    to: NodeId
    ranges: list[tuple[int, str, int, int]]


class SendBase(msgspec.Struct, frozen=True):
    """Fold the slot and send its archive and its base: the other lacks envelopes that are not in the log any more."""

    to: NodeId
    slot: int


class Run(msgspec.Struct, frozen=True):
    """Give these jobs to the runner."""

    jobs: list[Job]


class Stop(msgspec.Struct, frozen=True):
    """Stop a job; `drain`: commit what was written first."""

    key: JobKey
    drain: bool


class Rate(msgspec.Struct, frozen=True):
    """Let a job that runs at some rate go on at this one, in units per second."""

    key: JobKey
    rate: float


class Settled(msgspec.Struct, frozen=True):
    """A write (by `ticket`) is durable on `level` disks; 0: it could not be made durable in time."""

    ticket: int
    level: int


class Keep(msgspec.Struct, frozen=True):
    """Make these promises of a voter durable, after all earlier ones; then handle `kept(batch)`."""

    batch: int
    items: list[bytes]


class Notice(msgspec.Struct, frozen=True):
    """Something that people following events want to know: a task changed its state, a steward moved."""

    kind: str
    data: dict[str, object]


Effect = Append | Send | Resend | SendBase | Run | Stop | Rate | Settled | Keep | Notice
