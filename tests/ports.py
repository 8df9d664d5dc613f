"""Free ports on loopback, below those that the system gives to outgoing connections: whoever restarts finds its own
again.
"""

import contextlib
import random
import socket


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = random.SystemRandom().randrange(20_000, 32_000)
        if all(map(_free, range(first, first + count))):
            return first


def _free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as tried:
        tried.bind(("127.0.0.1", port))
        return True
    return False
