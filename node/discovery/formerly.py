"""Former places: where members once listened, whoever listens there now.

A member is dialled at the address that it last had, with its own key. When a mesh comes back with its addresses
dealt out anew, as containers are in the order of their start, each place belongs to another member: their own keys
fit nowhere, but the key of the join sockets is that of the mesh, and whoever answers knows more.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from node.discovery.base import Propose

AFTER = 2.0
"""Seconds in which members that are where they were have answered."""
AT_ONCE = 4
"""Places of one round; most are deserted in a mesh that has moved."""


class Formerly:
    """`places`: join addresses; `wanted`: whether there is still nobody. Ends as soon as there is somebody."""

    def __init__(self, places: Sequence[str], *, rng: random.Random, wanted: Callable[[], bool]) -> None:
        self._places, self._rng, self._wanted = tuple(places), rng, wanted

    async def run(self, propose: Propose) -> None:
        while self._places and self._wanted():
            await asyncio.sleep(AFTER)
            if self._wanted():
                for place in self._rng.sample(self._places, min(AT_ONCE, len(self._places))):
                    propose(place)
