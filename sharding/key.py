"""What a task id says: region, slot, batch and the place in the batch.

Shape: `<region>-<slot, 3 hex>-<batch, 13 base32><index, 3 hex>`. Any node routes an
id with no look-up.
"""

import base64
import re
from typing import NamedTuple

from sharding.region import MAX_NAME, region_of, shown, slot_in

_ID = re.compile(rf"^([a-z0-9]{{1,{MAX_NAME}}})-([0-9a-f]{{3}})-([a-z2-7]{{13}})([0-9a-f]{{3}})\Z")

BATCH_LENGTH = 13


class TaskId(NamedTuple):
    """`slot`: with its region (see `region`). `place`: the index in the batch, 0..4095; a task submitted alone is a
    batch of one.
    """

    slot: int
    batch: str
    place: int

    @property
    def region(self) -> str:
        """The home region."""
        return region_of(self.slot)

    def __str__(self) -> str:
        return f"{shown(self.slot)}-{self.batch}{self.place:03x}"


def batch_name(digest: bytes) -> str:
    """13 base32 characters (65 bits) from bytes 4 to 13 of a 16-byte digest; the first four chose the
    slot.
    """
    return base64.b32encode(digest[4:14]).decode().lower()[:BATCH_LENGTH]


def parse(text: str) -> TaskId | None:
    """The parts of a task id; None if this is not one."""
    match = _ID.match(text)
    if match is None:
        return None
    region, slot, batch, index = match.groups()
    return TaskId(slot_in(region, int(slot, 16)), batch, int(index, 16))
