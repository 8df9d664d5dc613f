"""Free ports on loopback, below those that the system gives to outgoing connections: whoever restarts finds its own
again. Each process has a block of its own, so that tests side by side do not take them from one another.
"""

import contextlib
import functools
import itertools
import random
import socket
from collections.abc import Iterator

BLOCK = 100
FIRST, END = 20_000, 32_000


@functools.cache
def _block() -> tuple[socket.socket, Iterator[int]]:
    """The first port of the block is held until this process ends."""
    while True:
        first = random.SystemRandom().randrange(FIRST, END, BLOCK)
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
        except OSError:
            guard.close()
            continue
        return guard, itertools.cycle(range(first + 1, first + BLOCK))


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    _, ports = _block()
    while True:
        found = list(itertools.islice(ports, count))
        if found[-1] - found[0] == count - 1 and all(map(_free, found)):
            return found[0]


def _free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as tried:
        tried.bind(("127.0.0.1", port))
        return True
    return False
