"""Push-pull: all that this node believes, in parts that fit a packet."""

from gossip.codec import MAX_PACKET, encode
from gossip.core import Core
from gossip.identity import NodeId
from gossip.member import LIVE, Member
from gossip.messages import Record, Sync

PART_BYTES = MAX_PACKET - 4096
RECORD_BYTES = 420
"""The most that a record takes beside its meta: an id of 64, an address of 262 and numbers."""


def push(core: Core, to: NodeId, address: str, *, answer: bool, now: float) -> None:
    """Sends all beliefs; the last part asks for the other's, so that it has merged ours before it answers."""
    parts = _parts(core, now)
    for number, records in enumerate(parts, 1):
        core.send(to, address, encode(Sync(answer and number == len(parts), records)))


def _parts(core: Core, now: float) -> list[list[Record]]:
    parts: list[list[Record]] = [[]]
    room = PART_BYTES
    for member in core.table.members.values():
        if member.id in core.forgotten:
            continue
        record = _record(member, core.table.metas[member.id], now)
        size = len(record.meta) + RECORD_BYTES
        if size > room:
            parts.append([])
            room = PART_BYTES
        room -= size
        parts[-1].append(record)
    return parts


def _record(member: Member, encoded_meta: bytes, now: float) -> Record:
    age = 0 if member.state in LIVE else max(0, int(now - member.since))
    return Record(member.id, member.boot, member.incarnation, member.state, member.address, encoded_meta, age)
