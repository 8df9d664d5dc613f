"""Which region a slot is of.

Everywhere in a node a slot is one number: the code of its home region times `SLOTS`, plus its number within the region.
The code is the region's name itself, as digits to the base 37, so that any node can say the name without being told.
The code of the default region is 0: a mesh that names no region has the slots 0..4095.

Invariant: `region_of(slot_in(region, number)) == region`, and no slot reaches 2**59 (it is stored as a signed 64-bit
integer, and sent as one).
"""

import re
from functools import lru_cache

from sharding.slots import SLOTS

LOCAL = "local"
"""The region of nodes that name none."""
MAX_NAME = 9
"""Characters: 37**9 * 4096 is below 2**59."""
REGION = re.compile(rf"^[a-z0-9]{{1,{MAX_NAME}}}\Z")

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE = len(_DIGITS) + 1


@lru_cache(maxsize=1024)
def code_of(region: str) -> int:
    """The code of a name that `REGION` matches. Digit 0 stands for no character; a name is left-aligned."""
    if region == LOCAL:
        return 0
    if REGION.match(region) is None:
        raise ValueError(f"region {region!r}: 1 to {MAX_NAME} lower-case letters or digits")
    code = 0
    for place in range(MAX_NAME):
        code = code * _BASE + (_DIGITS.index(region[place]) + 1 if place < len(region) else 0)
    return code


@lru_cache(maxsize=1024)
def _name_of(code: int) -> str | None:
    if code == 0:
        return LOCAL
    if not 0 < code < _BASE**MAX_NAME:
        return None
    digits = []
    for _ in range(MAX_NAME):
        code, digit = divmod(code, _BASE)
        digits.append(digit)
    name = "".join(_DIGITS[digit - 1] if digit else " " for digit in reversed(digits)).rstrip()
    return name if REGION.match(name) and name != LOCAL else None


def slot_in(region: str, number: int) -> int:
    """The slot with this number within the region."""
    return code_of(region) * SLOTS + number


def region_of(slot: int) -> str:
    """The home region of a valid slot."""
    name = _name_of(slot // SLOTS)
    assert name is not None, slot
    return name


def number_of(slot: int) -> int:
    """The slot's number within its region."""
    return slot % SLOTS


def valid(slot: int, slots: int = SLOTS) -> bool:
    """Whether there can be such a slot, where each region has `slots` of them."""
    return slot >= 0 and slot % SLOTS < slots and _name_of(slot // SLOTS) is not None


def shown(slot: int, own: str = "") -> str:
    """As ids begin: the region and the number in hexadecimal; the number alone where the region is `own`."""
    number = f"{number_of(slot):03x}"
    return number if region_of(slot) == own else f"{region_of(slot)}-{number}"
