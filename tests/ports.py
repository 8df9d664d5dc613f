"""Free ports on loopback, below those that the system gives to outgoing connections: whoever restarts finds its own
again. They are given out in groups, and a group only once: its first port is held until this process ends, so neither
this process nor a test beside it takes the others before they are used.
"""

import contextlib
import random
import socket

GROUP = 8
FIRST, END = 20_000, 32_000

_held: list[socket.socket] = []


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, less than `GROUP`."""
    assert count < GROUP
    while True:
        first = random.SystemRandom().randrange(FIRST, END, GROUP)
        guard = _bound(first)
        if guard is None:
            continue
        _held.append(guard)
        if all(map(_free, range(first + 1, first + 1 + count))):
            return first + 1


def _free(port: int) -> bool:
    tried = _bound(port)
    if tried is not None:
        tried.close()
    return tried is not None


def _bound(port: int) -> socket.socket | None:
    """None: somebody else has it."""
    made = socket.socket()
    with contextlib.suppress(OSError):
        made.bind(("127.0.0.1", port))
        return made
    made.close()
    return None
